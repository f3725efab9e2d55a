"""What can be done with loaded services: the one door through which the command line, servers and tests go.

Every change of a running service is a new generation of it, complete and pinned before one entry is written; whatever fails
before that leaves the running one as it was. Functions raise RuntimeProblem, and nothing else, for what can go wrong.

    change = load(read_bundle(Path("fw.bundle")), "fw", ["eth0"])
    change = change_rules("fw", [AddRule("sources", rule)])
    with Watcher("fw") as watcher:
        print(watcher.read())
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rules import TableSchema
from pcnc_runtime.advance import Loaded, Step, Wanted, opened
from pcnc_runtime.changes import (
    Attachment,
    BuiltVariant,
    Change,
    Recompile,
    Restored,
    RuleChanges,
    SourceRecord,
)
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.records import What
from pcnc_runtime.recovery import not_loaded, remove_folders, remove_service
from pcnc_runtime.settings import checked_settings
from pcnc_runtime.state import locked, names_with_records, place_of, told
from pcnc_runtime.transaction import changes_nothing, nothing_changed, with_edits

if TYPE_CHECKING:
    from pcnc_runtime.attach import XdpMode
    from pcnc_runtime.bundle import Bundle
    from pcnc_runtime.compare_versions import Comparison, Version
    from pcnc_runtime.facts import DamagedFacts, SavedFacts, ServiceFacts, SettingFacts, Statistics, TableFacts
    from pcnc_runtime.history_entry import HistoryEntry
    from pcnc_runtime.live import LiveVariants, Running

__all__ = [
    "AddRule",
    "Attachment",
    "BuiltVariant",
    "Change",
    "DeleteRule",
    "Edit",
    "FlushTable",
    "Recompile",
    "ReplaceRules",
    "Restored",
    "RuleChanges",
    "SourceRecord",
    "change_rules",
    "describe",
    "describe_saved",
    "history",
    "list_not_loaded",
    "load",
    "loaded_names",
    "preview_swap",
    "read_running",
    "read_schemas",
    "read_settings",
    "read_source",
    "read_table",
    "read_variants",
    "read_version",
    "restore",
    "rollback",
    "save",
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
    `no-devices`, `no-such-device`, `no-ethernet`, `device-carries-xdp`, `device-carries-tc`, `not-supported`,
    `no-such-setting`, `bad-setting`, `kernel-lacks`, `verifier-refused`, `broken-bundle`, `no-privilege`, `busy`. Nothing
    remains of a load that fails.
    """
    from pcnc_runtime.first_load import load_service

    with told(f"load `{name}`"):
        return load_service(bundle, name, devices, mode, settings or {}, source, recompile)


def swap(
    name: str,
    bundle: Bundle,
    *,
    source: SourceRecord | None = None,
    recompile: Recompile | None = None,
    discard: Collection[str] = (),
) -> Change:
    """Puts another version of the service in place of the running one, on the same devices.

    The file's rules become the new file's, the operator's stay; so do values of settings. Of what does not fit, only that may be
    lost which `discard` names: tables, settings, or `all`. RuntimeProblem: `rules-do-not-fit` (`settings-do-not-fit` where all
    rules do) has everything that does not; `nothing-to-discard` where a name is neither a table nor a setting.
    Chains that the old version lacks are attached, those that the new one lacks taken off: `device-carries-xdp`,
    `device-carries-tc`. `other-hook`: what is attached cannot run the new version; unload it and load it anew.
    """
    from pcnc_runtime.replace_version import replace_version

    with told(f"swap `{name}`"):
        return replace_version(name, bundle, source, recompile, discard)


def preview_swap(
    name: str,
    bundle: Bundle,
    *,
    label: str = "",
    source: SourceRecord | None = None,
    recompile: Recompile | None = None,
    discard: Collection[str] = (),
) -> Comparison:
    """What `swap` would do, everything checked but whether the kernel takes programs and devices take chains; nothing is changed.

    What does not fit is in the comparison, and raises nothing. `label` is what people call the new version.
    """
    from pcnc_runtime.replace_version import preview_version

    with told(f"compare `{name}` with the new version"):
        return preview_version(name, label or bundle.manifest.service, bundle, source, recompile, discard)


def read_version(name: str) -> Version:
    """A loaded service as `compare_versions` takes it. RuntimeProblem `not-loaded`."""
    from pcnc_runtime.live import read_loaded
    from pcnc_runtime.read_versions import version_of_loaded

    with told(f"read `{name}`"):
        place = place_of(name)
        state, number = read_loaded(place)
        kept = {each: place.read_record(each) for each in state.mentioned}
        return version_of_loaded(place, kept[number], list(kept.values()), state.next_ids)


def rollback(name: str) -> Change:
    """Makes the previous generation the live one again, with its rules and settings; a second time, and the later one is back.

    RuntimeProblem `no-previous` where there is none.
    """
    with told(f"roll `{name}` back"), opened(name) as loaded:
        return loaded.go_back()


def change_rules(name: str, edits: Sequence[Edit], *, recompile: Recompile | None = None, dry_run: bool = False) -> Change:
    """Any number of edits as one change: all of them or none. With `dry_run` everything is checked and nothing done.

    Where the rules are to be as they are, no generation is made. RuntimeProblem RefusedEdits, with all that are refused:
    `no-such-table`, `no-such-rule`, `rule-exists`, `bad-rule`, `bad-position`, `table-full`.
    """
    with told(f"change the rules of `{name}`"), opened(name) as loaded:
        wanted = with_edits(_as_it_is(loaded, "rules"), edits)
        step = Step(loaded, wanted, recompile)
        if changes_nothing(step, wanted):
            return nothing_changed(loaded, dry_run)
        return step.preview() if dry_run else step.take()


def set_configs(name: str, values: Mapping[str, int], *, recompile: Recompile | None = None) -> Change:
    """Gives settings other values (host order). RuntimeProblem: `no-such-setting`, `bad-setting`."""
    with told(f"change the settings of `{name}`"), opened(name) as loaded:
        wanted = _as_it_is(loaded, "settings")
        settings = {**wanted.settings, **checked_settings(wanted.manifest, values)}
        return Step(loaded, replace(wanted, settings=settings), recompile).take()


def _as_it_is(loaded: Loaded, what: What) -> Wanted:
    live, bundle = loaded.live, loaded.bundle
    return Wanted(
        what=what,
        bundle=bundle,
        manifest=bundle.manifest,
        source=live.source,
        settings=live.settings,
        rules={name: table.rules for name, table in live.tables.items()},
        next_ids=loaded.state.next_ids,
    )


def unload(name: str) -> tuple[Attachment, ...]:
    """Takes a service off its devices and removes everything of it; returns what it was attached to, and how that stood.

    A device that is gone, or carries another program by now, is no obstacle, and left alone. RuntimeProblem `not-loaded`.
    """
    with told(f"unload `{name}`"):
        place = place_of(name)
        if not place.exists():
            remove_folders(place)
            raise not_loaded(name)
        with locked(name):
            return remove_service(place)


def loaded_names() -> tuple[str, ...]:
    """The names of all loaded services, sorted. One whose records are damaged is not among them; `unload` removes it."""
    with told("list what is loaded"):
        return tuple(name for name in names_with_records() if _is_loaded(name))


def _is_loaded(name: str) -> bool:
    try:
        state = place_of(name).read()
    except RuntimeProblem as problem:
        if problem.name != "broken-record":
            raise
        return False
    return state is not None and state.phase == "loaded"


def describe(name: str) -> ServiceFacts:
    """Everything about a loaded service. RuntimeProblem `not-loaded`."""
    from pcnc_runtime.describe import describe_service

    with told(f"read `{name}`"):
        return describe_service(name)


def describe_saved(name: str) -> SavedFacts | None:
    """What is written down of a service that was loaded when the machine went down; None where it is not such a one."""
    from pcnc_runtime.describe import describe_saved

    with told(f"read `{name}`"):
        return describe_saved(name)


def list_not_loaded() -> tuple[SavedFacts | DamagedFacts, ...]:
    """Every name that something is written down of, and nothing loaded under: saved, or damaged. Sorted."""
    from pcnc_runtime.facts import DamagedFacts

    found: list[SavedFacts | DamagedFacts] = []
    for name in names_with_records():
        try:
            saved = describe_saved(name)
        except RuntimeProblem as problem:
            if problem.name != "broken-record":
                raise
            found.append(DamagedFacts(name, problem))
        else:
            found += [saved] if saved else []
    return tuple(found)


def restore(names: Sequence[str] | None = None, *, wait: float = 0.0) -> tuple[Restored, ...]:
    """Brings back what was loaded when the machine went down: bundle, rules, settings, order, and counts as they were saved.

    Without `names` everything, in the order in which it was loaded; what is loaded is left alone then, while one that is named is
    put back on devices that somebody took it off. What fails stays saved, and is no obstacle to the others. For devices and
    namespaces that are not there one waits as many seconds. RuntimeProblem `not-loaded`, `no-such-device`, `no-namespace`,
    `device-carries-xdp`, `device-carries-tc`, `broken-record` and others are in the answer.
    """
    from pcnc_runtime.restore import names_to_restore, restore_all

    with told("restore"):
        return restore_all(names_to_restore() if names is None else names, mend=names is not None, wait=wait)


def save(names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Writes down what loaded services have counted, for `restore` to go on from; without `names` of all. The names.

    RuntimeProblem `not-loaded`, `busy`.
    """
    from pcnc_runtime.saved_counts import save_counts

    chosen = loaded_names() if names is None else tuple(names)
    for name in chosen:
        with told(f"save the counts of `{name}`"), opened(name) as loaded:
            save_counts(loaded.place, loaded.state)
    return chosen


def read_running(name: str) -> Running:
    """Which generation is in force, and of what. Cheap. RuntimeProblem `not-loaded`."""
    from pcnc_runtime.live import read_running

    with told(f"read `{name}`"):
        return read_running(name)


def read_source(name: str) -> SourceRecord | None:
    """The source of the generation in force, None where it came from a bundle. Cheap. RuntimeProblem `not-loaded`."""
    from pcnc_runtime.live import read_source

    with told(f"read `{name}`"):
        return read_source(name)


def read_schemas(name: str) -> tuple[TableSchema, ...]:
    """The tables of a loaded service as rules see them: what is needed to read rules from text. Cheap."""
    from pcnc_runtime.live import live_manifest

    with told(f"read `{name}`"):
        return live_manifest(name).schemas


def read_table(name: str, table: str) -> TableFacts:
    """One table with its rules and counts. RuntimeProblem `not-loaded`, `no-such-table`."""
    from pcnc_runtime.describe import describe_table

    with told(f"read `{name}`"):
        return describe_table(name, table)


def read_settings(name: str) -> tuple[SettingFacts, ...]:
    """The settings and their values. Cheap."""
    from pcnc_runtime.describe import describe_settings

    with told(f"read `{name}`"):
        return describe_settings(name)


def read_variants(name: str) -> LiveVariants:
    """The plans of what runs, beside those of the variant for every rule set. RuntimeProblem `not-loaded`."""
    from pcnc_runtime.live import live_variants

    with told(f"read `{name}`"):
        return live_variants(name)


def history(name: str) -> tuple[HistoryEntry, ...]:
    """The generations that came into force since the service was loaded, the last thousand, the oldest first.

    RuntimeProblem `not-loaded`.
    """
    from pcnc_runtime.live import history_of

    with told(f"read `{name}`"):
        return history_of(name)


def statistics(name: str) -> Statistics:
    """All counts, once; who asks again and again opens a `Watcher`."""
    from pcnc_runtime.statistics import Watcher

    with told(f"read `{name}`"), Watcher(name) as watcher:
        return watcher.read()
