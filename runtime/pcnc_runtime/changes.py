"""What a change is made with and what comes back: sources to compile again, and the report.

Pure data, so that what builds a request or prints a report imports nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pcnc.manifest import Hook, Toolchain, Variant
from pcnc.program_words import ChainName
from pcnc.shape import Shape
from pcnc_runtime.errors import RuntimeProblem

Origin = Literal["file", "operator", "both"]
"""Who owns a rule: the file that was compiled, who sits at the keyboard, or both (one rule, said twice)."""


# ---- compiling again


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a service was compiled from and with, kept so that it can be compiled for another shape of its rules."""

    path: str
    text: str = field(repr=False)
    service: str = ""
    hook: Hook = "xdp"
    toolchain: Toolchain = "clang"


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """A variant and its files (objects, and C to look at) by the paths that its plans name."""

    variant: Variant
    files: Mapping[str, bytes]


Recompile = Callable[[SourceRecord, Shape], BuiltVariant]
"""Compiles a service for a shape. It raises RuntimeProblem `no-clang` or `no-bcc` where it cannot; what is there then does."""


# ---- reports


AttachState = Literal["attached", "detached", "replaced", "gone", "moved", "unknown", "saved"]
"""What a device says: it runs our program, none, or somebody else's; it is gone, or in another namespace; or its namespace cannot
be entered.

`saved`: nobody asked it, the machine was started anew since.
"""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A chain's entry program on a device. `mode` is `native`, `generic` or, at TC, empty."""

    device: str
    index: int
    chain: ChainName
    hook: Hook
    mode: str
    state: AttachState = "attached"
    remark: str = ""
    """What others have done to it, where something is to be told."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What a change puts on devices and takes off them, where a chain comes or goes."""

    attached: tuple[Attachment, ...] = ()
    detached: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """What became of a table's rules, by id."""

    table: str
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    replaced: tuple[int, ...] = ()
    """Those that keep match, id and count, and now say something else."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that has another value, as text; empty where it was not there before, or is no more."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was made, or with `dry_run` would be.

    `in_force` is the seconds from the beginning of the operation until the last entry was written (0 in a dry run), `flip` those
    that the writing took. `programs` is how many blocks were loaded (none for a rollback), `compiled` whether a compiler ran.
    """

    name: str
    what: Literal["load", "swap", "rollback", "rules", "settings", "restore"]
    generation: int
    previous: int | None
    in_force: float
    flip: float
    variant: str
    exact: bool
    """Whether the variant was made for just this shape of the rules; else it is a wider one, right but not as fast."""
    compiled: bool
    programs: int
    rules: tuple[RuleChanges, ...] = ()
    settings: tuple[SettingChange, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    """What it put on devices."""
    detached: tuple[Attachment, ...] = ()
    """What it took off them: chains that the service does not have any more."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    changed: bool = True
    """False where everything was as it was to be: then `generation` is the one that stays in force."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a service that was to be restored.

    `restored`: it is loaded again; `mended`: it was loaded, and is on its devices again; `loaded`: it was, and was left alone;
    `failed` for the reason that `problem` gives, and it is what it was.
    """

    name: str
    outcome: Literal["restored", "mended", "loaded", "failed"]
    change: Change | None = None
    problem: RuntimeProblem | None = None
