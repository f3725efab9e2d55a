"""What `show` and `stats` say of a loaded service. Pure data; counts are totals since `load` and never go down."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.manifest import BlockPlan, ChainPlan, ConfigPlan, Hook, TablePlan, Toolchain
from pcnc.program_words import ChainName
from pcnc.rules import Rule, TableSchema
from pcnc_runtime.changes import Attachment, Origin
from pcnc_runtime.errors import RuntimeProblem


@dataclass(frozen=True, slots=True)
class Count:
    """Packets, and their bytes as they entered a table; 0 where the table does not count that."""

    packets: int = 0
    bytes: int = 0


# ---- statistics


@dataclass(frozen=True, slots=True)
class ChainStatistics:
    """Where packets of a chain ended.

    `reasons` are the plan's, in its order, and last `drop: no generation`: packets that found the entry empty.
    """

    chain: ChainName
    packets: int
    dropped: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What a counting table counted, by rule id in the order of the rules, and for its default."""

    table: str
    counts_packets: bool
    counts_bytes: bool
    rules: tuple[tuple[int, Count], ...]
    default: Count


@dataclass(frozen=True, slots=True)
class Statistics:
    """All counts of a service at the monotonic time `at` (seconds). Tables that count nothing are left out."""

    name: str
    generation: int
    at: float
    chains: tuple[ChainStatistics, ...]
    tables: tuple[TableStatistics, ...]

    def table(self, name: str) -> TableStatistics | None:
        """The counts of one table, None where it counts nothing."""
        return next((table for table in self.tables if table.table == name), None)


# ---- everything


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """A rule in force. `position` is 1 for the first; `text` is the rule in PCN; `count` is None where the table counts nothing."""

    id: int
    position: int
    origin: Origin
    rule: Rule
    text: str
    count: Count | None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table. `plan` is None where no block looks anything up in it: it has no rules, or no packet reaches it."""

    schema: TableSchema
    default: str
    counts_packets: bool
    counts_bytes: bool
    plan: TablePlan | None
    rules: tuple[RuleFacts, ...]
    default_count: Count | None


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block in its slot, and the kernel's program. Lengths in bytes; `program_id` 0: the slot is empty."""

    plan: BlockPlan
    program_id: int
    program_name: str
    translated_length: int
    jited_length: int
    verified_instructions: int


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """A chain: its plan (edges, what is parsed, reasons), its blocks by slot, and the program that the entry jumps to."""

    plan: ChainPlan
    entry_program_id: int
    blocks: tuple[BlockFacts, ...]


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """A setting, its value, and the value as people write it."""

    plan: ConfigPlan
    value: int
    text: str


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A loaded service. Times are seconds since the epoch: `loaded` of the first generation, `since` of the live one."""

    name: str
    service: str
    hook: Hook
    generation: int
    previous: int | None
    what: str
    """What made the live generation: `load`, `swap`, `rules` or `settings`."""
    loaded: float
    since: float
    variant: str
    exact: bool
    source: str
    source_hash: str
    compiler: str
    """The version of pcnc that compiled it."""
    toolchain: Toolchain
    toolchain_version: str
    """What made the objects, in its own words."""
    attachments: tuple[Attachment, ...]
    chains: tuple[ChainFacts, ...]
    tables: tuple[TableFacts, ...]
    settings: tuple[SettingFacts, ...]
    statistics: Statistics
    faults: tuple[str, ...] = ()
    """What is wrong in the kernel with what is pinned: then packets are dropped, and `restore` mends it."""


@dataclass(frozen=True, slots=True)
class SavedFacts:
    """A service that was loaded when the machine went down, and is not loaded now: what `restore` is going to bring back.

    `netns` is the name of the devices' network namespace: "" is the machine's own, None has no name. `rules`: how many, by table.
    """

    name: str
    service: str
    hook: Hook
    generation: int
    loaded: float
    since: float
    netns: str | None
    attachments: tuple[Attachment, ...]
    rules: tuple[tuple[str, int], ...]
    settings: tuple[SettingFacts, ...]


@dataclass(frozen=True, slots=True)
class DamagedFacts:
    """A service of which not all can be read that was written down, and the first thing that cannot."""

    name: str
    problem: RuntimeProblem
