"""An entry of a service's history: which generation came into force, when, why, from which source, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pcnc_runtime.changes import SettingChange

HistoryWhat = Literal["load", "swap", "rules", "settings", "rollback", "restore"]


@dataclass(frozen=True, slots=True)
class SomeRules:
    """How many rules there are, and the first as text."""

    count: int = 0
    first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableHistory:
    """What became of a table's rules. `changed` are those that kept match, id and count, as they are now."""

    table: str
    added: SomeRules
    removed: SomeRules
    changed: SomeRules


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A generation came into force.

    `number` counts the entries of the service from 1. `generation` is in force since `when` (seconds since the epoch) and took
    over from `previous`. Of the code `blocks` is how many blocks there are, `blocks_added` and `blocks_removed` name those that
    the one before did not have, or had; `compiled` says whether it was compiled for this. `source_hash` is the
    source's sha256.

    `mark` is `live` for what is in force and `previous` for what `rollback` would return to.
    """

    number: int
    generation: int
    previous: int | None
    when: float
    what: HistoryWhat
    tables: tuple[TableHistory, ...]
    settings: tuple[SettingChange, ...]
    blocks: int
    blocks_added: tuple[str, ...]
    blocks_removed: tuple[str, ...]
    variant: str
    exact: bool
    compiled: bool
    source: str
    source_hash: str
    source_changed: bool
    mark: Literal["", "live", "previous"] = ""

    @property
    def is_bare(self) -> bool:
        """Whether nothing but which, when and why is known yet."""
        return not self.variant
