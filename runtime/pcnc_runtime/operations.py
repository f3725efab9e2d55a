"""What can be done with loaded services: the one door through which the command line, servers and tests go.

Every change of a running service is a new generation of it, complete and pinned before one entry is written; whatever fails
before that leaves the running one as it was. Functions raise RuntimeProblem, and nothing else, for what can go wrong.

    change = load(read_bundle(Path("fw.bundle")), "fw", ["eth0"])
    change = change_rules("fw", [AddRule("sources", rule)])
    with Watcher("fw") as watcher:
        print(watcher.read())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pcnc.rules import TableSchema
from pcnc_runtime.attach import XdpMode
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.changes import (
    AddRule,
    Attachment,
    BuiltVariant,
    Change,
    DeleteRule,
    Edit,
    Recompile,
    ReplaceRules,
    RuleChanges,
    SourceRecord,
)
from pcnc_runtime.facts import ServiceFacts, SettingFacts, Statistics, TableFacts

__all__ = [
    "AddRule",
    "Attachment",
    "BuiltVariant",
    "Change",
    "DeleteRule",
    "Edit",
    "Recompile",
    "ReplaceRules",
    "RuleChanges",
    "SourceRecord",
    "change_rules",
    "describe",
    "load",
    "loaded_names",
    "read_schemas",
    "read_settings",
    "read_table",
    "rollback",
    "set_configs",
    "statistics",
    "swap",
    "unload",
]


def load(
    bundle: Bundle,
    name: str,
    devices: Sequence[str],
    *,
    mode: XdpMode | None = None,
    settings: Mapping[str, int] | None = None,
    source: SourceRecord | None = None,
    recompile: Recompile | None = None,
) -> Change:
    """Loads a compiled service and attaches it to devices of the calling thread's network namespace.

    `mode` is for XDP; without it native is tried, then generic. `settings` are values by name, others are what the file says.
    `source` is kept, so that later changes of the rules can be compiled for. RuntimeProblem: `bad-name`, `name-in-use`,
    `no-such-device`, `no-ethernet`, `device-carries-xdp`, `device-carries-tc`, `not-supported`, `no-such-setting`,
    `bad-setting`, `kernel-lacks`, `verifier-refused`, `broken-bundle`, `no-privilege`, `busy`. Nothing remains of a load that fails.
    """
    raise NotImplementedError


def swap(
    name: str,
    bundle: Bundle,
    *,
    source: SourceRecord | None = None,
    recompile: Recompile | None = None,
    discard: bool = False,
) -> Change:
    """Puts another version of the service in place of the running one, on the same devices.

    The file's rules become the new file's, the operator's stay; settings that the new version still has keep their values.
    RuntimeProblem `rules-do-not-fit` lists the operator's rules that the new tables cannot hold; `discard` drops these.
    `other-hook`, `other-chains`: what is attached cannot run the new version; unload it and load it anew.
    """
    raise NotImplementedError


def rollback(name: str) -> Change:
    """Makes the previous generation the live one again, with its rules and settings; a second time, and the later one is back.

    RuntimeProblem `no-previous` where there is none.
    """
    raise NotImplementedError


def change_rules(name: str, edits: Sequence[Edit], *, recompile: Recompile | None = None, dry_run: bool = False) -> Change:
    """Any number of edits as one change: all of them or none. With `dry_run` everything is checked and nothing done.

    RuntimeProblem: `no-such-table`, `no-such-rule`, `rule-exists`, `bad-rule`, `bad-position`, `table-full`.
    """
    raise NotImplementedError


def set_configs(name: str, values: Mapping[str, int], *, recompile: Recompile | None = None) -> Change:
    """Gives settings other values (host order). RuntimeProblem: `no-such-setting`, `bad-setting`."""
    raise NotImplementedError


def unload(name: str) -> tuple[Attachment, ...]:
    """Takes a service off its devices and removes everything of it; returns what it was attached to, and how that stood.

    A device that is gone, or carries another program by now, is no obstacle, and left alone. RuntimeProblem `not-loaded`.
    """
    raise NotImplementedError


def loaded_names() -> tuple[str, ...]:
    """The names of all loaded services, sorted."""
    raise NotImplementedError


def describe(name: str) -> ServiceFacts:
    """Everything about a loaded service. RuntimeProblem `not-loaded`."""
    raise NotImplementedError


def read_schemas(name: str) -> tuple[TableSchema, ...]:
    """The tables of a loaded service as rules see them: what is needed to read rules from text. Cheap."""
    raise NotImplementedError


def read_table(name: str, table: str) -> TableFacts:
    """One table with its rules and counts. RuntimeProblem `not-loaded`, `no-such-table`."""
    raise NotImplementedError


def read_settings(name: str) -> tuple[SettingFacts, ...]:
    """The settings and their values. Cheap."""
    raise NotImplementedError


def statistics(name: str) -> Statistics:
    """All counts, once; who asks again and again opens a `Watcher`."""
    raise NotImplementedError
