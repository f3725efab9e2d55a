"""The manifest: all that a target must know to load compiled blocks and to put rules into them, without compiler or source.

Pure data with a JSON form. It is read at each rule change, so this module imports almost nothing.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pcnc.program_words import ChainName
from pcnc.rules import Interval, MaskedValue, Rule, TableSchema
from pcnc.shape import Shape
from pcnc.types import Type

FORMAT = 1
"""The version of the JSON form; a reader refuses another."""

Classifier = Literal["hash", "lpm_trie", "list"]
Hook = Literal["xdp", "tc"]
Toolchain = Literal["clang", "bcc"]


class ManifestError(Exception):
    """The JSON is not a manifest, or not of this format; the text says where."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value lies: `size` bytes at `offset` of a key or a rule's value, holding `bits` bits of it."""

    offset: int
    size: int
    bits: int


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where a column (by its index in the table) lies.

    `hash`: host order in the key. `lpm_trie`: big-endian in the key, the value in the high bits. `list`: host order in the
    entry; `second` is the upper end of a `range` column, where `first` is the lower, else the mask of `first`'s value.
    """

    column: int
    first: Place
    second: Place | None


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """The number by which a rule's value names an action, and where its arguments lie in the value (host order)."""

    name: str
    id: int
    arguments: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How the rules of a table become entries of a kernel map.

    A value begins with the action's id (u32) and the rule's slot in the counters (u32), both host order. In a `list` a u64
    at byte 8 has bit i set where the rule asks about the i-th of `columns`; entries stand in the order of the rules, one an
    index. In an `lpm_trie` key a u32 prefix length comes first; the u32 at `present` is 1 (host order) where the lpm column is
    not `*`. The prefix length counts, behind itself, all bits up to that word for a `*`, else all up to the column, gaps
    included, and the column's own. All padding is 0.
    """

    table: str
    classifier: Classifier
    key_size: int
    value_size: int
    present: int
    columns: tuple[ColumnPlan, ...]
    actions: tuple[ActionPlan, ...]


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A micro-block: its slot, its program's name, its files (relative to the bundle), and for people what it does."""

    name: str
    function: str
    slot: int
    code: str
    object: str
    kind: Literal["parser", "table", "stage", "branch", "end"]
    summary: str
    table: str
    """The table it looks up or whose default it runs, else empty."""
    source_line: int


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """A way between blocks, for pictures; targets may be the verdicts `next`, `pass`, `drop`."""

    origin: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """The programs of one chain. Slot 0 is where packets enter. `frame_size` 0: the blocks hand nothing to each other."""

    chain: ChainName
    hook: Hook
    blocks: tuple[BlockPlan, ...]
    edges: tuple[EdgePlan, ...]
    frame_size: int
    reasons: tuple[str, ...]
    parses: tuple[str, ...]
    """The fields extracted and headers located, as written in PCN, for people."""
    rewrites: tuple[str, ...]
    """Fields assigned whose value a TCP, UDP or ICMP checksum covers: XDP must then meet finished checksums."""


@dataclass(frozen=True, slots=True)
class ConfigPlan:
    """A setting: its type, the value it starts with, and where it lies in `.rodata.config` (host order)."""

    name: str
    type: Type
    value: int
    place: Place


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table as people and rules see it: its schema, what it counts, its default in words, and the file's own rules."""

    schema: TableSchema
    count_packets: bool
    count_bytes: bool
    default: str
    rules: tuple[Rule, ...]
    source_line: int


@dataclass(frozen=True, slots=True)
class Variant:
    """The service compiled for one shape of its rules."""

    name: str
    shape: Shape
    chains: tuple[ChainPlan, ...]
    tables: tuple[TablePlan, ...]
    """Only those that are still looked up."""


@dataclass(frozen=True, slots=True)
class EntryPlan:
    """The program that is attached to devices and jumps to slot 0 of the live generation: one for each chain."""

    chain: ChainName
    hook: Hook
    code: str
    object: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A compiled service. `config_size` is the size of `.rodata.config`; `hashes` are sha256 of all files named, by path."""

    format: int
    pcnc: str
    service: str
    source: str
    source_hash: str
    hook: Hook
    tables: tuple[TableEntry, ...]
    configs: tuple[ConfigPlan, ...]
    config_size: int
    entries: tuple[EntryPlan, ...]
    variants: tuple[Variant, ...]
    needs: tuple[str, ...]
    """What the kernel must have, in words that `probe` knows: `xdp`, `tc`, `bpf_loop`, `lpm_trie`."""
    hashes: tuple[tuple[str, str], ...]
    toolchain: Toolchain = "clang"
    toolchain_version: str = ""
    """What made the objects, in its own words; empty in bundles from before there was more than one."""

    def table(self, name: str) -> TableEntry:
        """The table of that name; KeyError if there is none."""
        for candidate in self.tables:
            if candidate.schema.name == name:
                return candidate
        raise KeyError(name)

    @property
    def schemas(self) -> tuple[TableSchema, ...]:
        """The schemas of all tables."""
        return tuple(table.schema for table in self.tables)

    def variant_for(self, shape: Shape) -> Variant | None:
        """The variant made for a shape, else the smallest that covers it, else None."""
        covering = [variant for variant in self.variants if variant.shape.covers(shape)]
        return min(covering, key=lambda variant: _width(variant.shape), default=None)


def _width(shape: Shape) -> int:
    return sum(len(table.columns) + len(table.actions) for _, table in shape.tables)


# ---- JSON


def to_json(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, spans left out: what `json.dumps` takes."""
    if isinstance(value, Rule):
        return rule_to_json(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return value


def rule_to_json(rule: Rule) -> list[Any]:
    """A rule in little space: `[[null | [value, mask] | [low, high, "range"], …], action, [argument, …]]`."""
    matches: list[Any] = []
    for pattern in rule.matches:
        match pattern:
            case None:
                matches.append(None)
            case MaskedValue(value=value, mask=mask):
                matches.append([value, mask])
            case Interval(low=low, high=high):
                matches.append([low, high, "range"])
    return [matches, rule.action, list(rule.arguments)]


def rule_from_json(data: Any) -> Rule:
    """The rule that `rule_to_json` wrote. Raises ManifestError."""
    try:
        matches, action, arguments = data
        patterns = tuple(
            None if match is None else Interval(match[0], match[1]) if len(match) == 3 else MaskedValue(match[0], match[1])
            for match in matches
        )
        return Rule(patterns, action, tuple(arguments))
    except (TypeError, ValueError, IndexError) as error:
        raise ManifestError(f"not a rule: {data!r}") from error


T = TypeVar("T")


def from_json(wanted: type[T], data: Any, where: str = "manifest") -> T:
    """Builds a dataclass (and those inside it) from what `json.loads` gave. Raises ManifestError, naming the place."""
    result: T = _decode(wanted, data, where)
    return result


def _decode(wanted: Any, data: Any, where: str) -> Any:
    if wanted is Rule:
        return rule_from_json(data)
    origin = get_origin(wanted)
    if origin is UnionType:
        inner = [part for part in get_args(wanted) if part is not NoneType]
        return None if data is None else _decode(inner[0], data, where)
    if origin is Literal:
        if data not in get_args(wanted):
            raise ManifestError(f"{where}: {data!r} is none of {', '.join(map(str, get_args(wanted)))}")
        return data
    if origin is tuple:
        return _decode_tuple(get_args(wanted), data, where)
    if is_dataclass(wanted):
        if not isinstance(data, dict):
            raise ManifestError(f"{where}: an object was expected")
        assert isinstance(wanted, type)
        hints = _types_of_fields(wanted)
        names = {field.name for field in fields(wanted) if field.name in data}
        missing = {field.name for field in fields(wanted) if field.default is MISSING} - names
        if missing:
            raise ManifestError(f"{where}: {', '.join(sorted(missing))} is missing")
        return wanted(**{name: _decode(hints[name], data[name], f"{where}.{name}") for name in names})
    if not isinstance(data, wanted) or (wanted is int and isinstance(data, bool)):
        raise ManifestError(f"{where}: {wanted.__name__} expected, not {data!r}")
    return data


@cache
def _types_of_fields(wanted: type) -> dict[str, Any]:
    return get_type_hints(wanted)


def _decode_tuple(inner: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise ManifestError(f"{where}: a list was expected")
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_decode(inner[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if len(inner) != len(data):
        raise ManifestError(f"{where}: {len(inner)} values expected")
    return tuple(_decode(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(zip(inner, data, strict=True)))


def manifest_from_json(data: Any) -> Manifest:
    """Reads a manifest; another format than ours is refused before anything else is looked at."""
    if not isinstance(data, dict) or "format" not in data:
        raise ManifestError("this is not a manifest of pcnc")
    if data["format"] != FORMAT:
        raise ManifestError(f"the manifest has format {data['format']!r}; this pcnc reads format {FORMAT}")
    return from_json(Manifest, data)
