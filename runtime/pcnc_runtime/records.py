"""What is written down of a loaded service, beside its pins: the state of the whole, and one record a generation.

It outlives the machine, while numbers of programs, devices and namespaces do not: what an earlier start of it wrote down is read
without them, as a service that is saved and not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pcnc.manifest import Hook, ManifestError, from_json, rule_from_json, rule_to_json, to_json
from pcnc.program_words import ChainName
from pcnc_runtime.history_entry import HistoryEntry
from pcnc_runtime.live_rules import LiveRule
from pcnc_runtime.record_files import broken, read_json, write_json

FORMAT = 2
_BOOT = Path("/proc/sys/kernel/random/boot_id")

Phase = Literal["loading", "loaded", "unloading", "saved", "restoring"]
"""`saved`: it was loaded when the machine went down. That is never written: it follows from who wrote what is there."""

What = Literal["load", "swap", "rules", "settings", "restore"]


@dataclass(frozen=True, slots=True)
class AttachedAt:
    """An entry program on a device, as it was put there. `added_qdisc`: the clsact qdisc is ours to remove.

    `program_id` 0: it is not there, and is going to be.
    """

    device: str
    index: int
    chain: ChainName
    hook: Hook
    mode: str
    program_id: int
    added_qdisc: bool = False


@dataclass(frozen=True, slots=True)
class Carried:
    """Totals of maps that are gone, by chain and reason, and by table and rule id (0: the default) as packets and bytes."""

    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[int, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is often asked of a generation, without its record: its bundle and source, and which maps of counts it uses.

    Maps are numbered, by chain and by table; generations with the same number share the map.
    """

    bundle: str
    source: str
    chains: Mapping[str, int]
    tables: Mapping[str, int]
    variant: str
    since: float
    """When it came into force the last time."""


@dataclass(frozen=True, slots=True)
class State:
    """A service as a whole.

    `kept` are the generations that are kept, the live one first. While a change is under way `target` is what `kept` is going to
    be; whether it came to that is decided by what the entry holds. `namespace` is the inode of the devices' network namespace, by
    which it is found until the machine goes down, and `netns` its name, by which it is found after that (`name_of_namespace`).
    """

    name: str
    phase: Phase
    loaded: float
    namespace: int
    netns: str | None
    mode: str
    """How XDP is to run where a chain comes to it later: `native`, `generic`, or empty where it was not said."""
    attachments: tuple[AttachedAt, ...]
    kept: tuple[int, ...]
    target: tuple[int, ...]
    last: int
    last_map: int
    """The highest number given to a map of counts."""
    summaries: Mapping[int, Summary]
    """Of every generation mentioned."""
    next_ids: Mapping[str, int]
    carried: Carried
    coming: HistoryEntry | None = None
    """What the history is going to say once `target` is in force; without a target it is to be said now."""

    @property
    def settled(self) -> bool:
        """Whether it is what another start of the machine is to find, and not on the way to that."""
        return self.phase == "loaded" and not self.target

    @property
    def mentioned(self) -> tuple[int, ...]:
        """All generations that are kept, or going to be."""
        return tuple(dict.fromkeys((*self.kept, *self.target)))


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A table of a generation: its rules, and the number and capacity of its map of counts (0: it counts nothing)."""

    rules: tuple[LiveRule, ...]
    counters: int = 0
    capacity: int = 0


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """A chain of a generation: the number of its map of verdicts, and what its entries mean."""

    verdicts: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation: what it was made from and for. `settings` are those that an operator set; `variant` is a key of the bundle."""

    number: int
    bundle: str
    source: str
    variant: str
    exact: bool
    what: What
    since: float
    settings: Mapping[str, int]
    tables: Mapping[str, TableRecord]
    chains: Mapping[str, ChainRecord]

    @property
    def summary(self) -> Summary:
        """What the state keeps of it."""
        chains = {name: chain.verdicts for name, chain in self.chains.items()}
        tables = {name: table.counters for name, table in self.tables.items() if table.counters}
        return Summary(self.bundle, self.source, chains, tables, self.variant, self.since)


# ---- the state


def boot_id() -> str:
    """What names this start of the machine."""
    return _BOOT.read_text().strip()


def write_state(path: Path, state: State, *, durable: bool, instead: Path | None = None) -> None:
    """Writes the state of a service, and by which start of the machine."""
    attachments = [
        [at.device, at.index, at.chain, at.hook, at.mode, at.program_id, int(at.added_qdisc)] for at in state.attachments
    ]
    data = {
        "format": FORMAT,
        "boot": boot_id(),
        "name": state.name,
        "phase": state.phase,
        "loaded": state.loaded,
        "namespace": state.namespace,
        "netns": state.netns,
        "mode": state.mode,
        "attachments": attachments,
        "kept": state.kept,
        "target": state.target,
        "last": state.last,
        "last_map": state.last_map,
        "summaries": {
            number: [each.bundle, each.source, dict(each.chains), dict(each.tables), each.variant, each.since]
            for number, each in state.summaries.items()
        },
        "next_ids": dict(state.next_ids),
        "reasons": {chain: dict(reasons) for chain, reasons in state.carried.reasons.items()},
        "rules": {table: dict(rules) for table, rules in state.carried.rules.items()},
        "coming": to_json(state.coming),
    }
    write_json(path, data, durable=durable, instead=instead)


def read_state(path: Path) -> State | None:
    """The state of a service, `saved` where another start of the machine wrote it; None where none is written.

    RuntimeProblem `broken-record`.
    """
    try:
        data = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if data["format"] != FORMAT:
            raise broken(path, f"it has format {data['format']}, this pcnc reads {FORMAT}")
        state = State(
            name=data["name"],
            phase=data["phase"],
            loaded=data["loaded"],
            namespace=data["namespace"],
            netns=data["netns"],
            mode=data["mode"],
            attachments=tuple(
                AttachedAt(device, index, chain, hook, mode, program, bool(added))
                for device, index, chain, hook, mode, program, added in data["attachments"]
            ),
            kept=tuple(data["kept"]),
            target=tuple(data["target"]),
            last=data["last"],
            last_map=data["last_map"],
            summaries={int(number): Summary(*each) for number, each in data["summaries"].items()},
            next_ids=data["next_ids"],
            carried=Carried(
                data["reasons"],
                {table: {int(id): (count[0], count[1]) for id, count in rules.items()} for table, rules in data["rules"].items()},
            ),
            coming=None if data["coming"] is None else from_json(HistoryEntry, data["coming"], "coming"),
        )
        return state if data["boot"] == boot_id() else _saved(state)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, ManifestError) as error:
        raise broken(path, repr(error)) from None


def _saved(state: State) -> State:
    """Without the numbers that mean something else by now."""
    attachments = tuple(replace(at, index=0, program_id=0, added_qdisc=False) for at in state.attachments)
    return replace(state, phase="saved", namespace=0, attachments=attachments)


# ---- generations


def write_generation(path: Path, generation: Generation) -> None:
    """Writes the record of a generation. It has to last only when the state says that this is the one: see `Place.write`."""
    data = {
        "generation": generation.number,
        "bundle": generation.bundle,
        "source": generation.source,
        "variant": generation.variant,
        "exact": generation.exact,
        "what": generation.what,
        "since": generation.since,
        "settings": dict(generation.settings),
        "tables": {name: [table.counters, table.capacity, _rules(table)] for name, table in generation.tables.items()},
        "chains": {name: [chain.verdicts, chain.reasons] for name, chain in generation.chains.items()},
    }
    write_json(path, data, durable=False)


def _rules(table: TableRecord) -> list[Any]:
    return [[rule.id, rule.origin, rule.slot, rule.file_index, rule_to_json(rule.rule)] for rule in table.rules]


def read_generation(path: Path) -> Generation:
    """The record of a generation. RuntimeProblem `broken-record`, also where there is none."""
    try:
        data = read_json(path)
        tables = {
            name: TableRecord(
                tuple(LiveRule(id, origin, rule_from_json(rule), slot, index) for id, origin, slot, index, rule in rules),
                counters,
                capacity,
            )
            for name, (counters, capacity, rules) in data["tables"].items()
        }
        return Generation(
            number=data["generation"],
            bundle=data["bundle"],
            source=data["source"],
            variant=data["variant"],
            exact=data["exact"],
            what=data["what"],
            since=data["since"],
            settings=data["settings"],
            tables=tables,
            chains={name: ChainRecord(verdicts, tuple(reasons)) for name, (verdicts, reasons) in data["chains"].items()},
        )
    except FileNotFoundError:
        raise broken(path, "it is not there") from None
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise broken(path, repr(error)) from None
