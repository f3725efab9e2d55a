"""How values lie in memory: C types, and the structs that programs and the runtime share.

A struct made here has no hidden padding: every gap is a member of its own, so that a key is the same bytes for the C
compiler and for the runtime, on every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcnc.blocks import TableBlock
from pcnc.manifest import Classifier
from pcnc.program import Action, Column
from pcnc.rules import Parameter

LARGEST_ALIGNMENT = 8


def storage(bits: int) -> int:
    """Bytes of the smallest C type that holds so many bits: 1, 2, 4, 8 or 16."""
    for size in (1, 2, 4, 8, 16):
        if bits <= size * 8:
            return size
    raise ValueError(f"no C type holds {bits} bits")


def c_type(bits: int) -> str:
    """That type's name in `pcnc_block.h`: u8, u16, u32, u64 or u128."""
    return f"u{storage(bits) * 8}"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct: `size` bytes at `offset`. `count` above 0 makes it an array of bytes (padding)."""

    name: str
    offset: int
    size: int
    count: int = 0

    @property
    def declaration(self) -> str:
        """The member as C declares it."""
        return f"u8 {self.name}[{self.count}]" if self.count else f"u{self.size * 8} {self.name}"


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct: its members in order of offset, and its size in bytes."""

    members: tuple[Member, ...]
    size: int

    def member(self, name: str) -> Member:
        """The member of that name; KeyError if there is none."""
        for candidate in self.members:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


def lay_out(fields: Sequence[tuple[str, int]], start: int = 0) -> Layout:
    """Places (name, bytes) in the order given, from byte `start`, each aligned to its size (8 at most), gaps named `pad…`."""
    members: list[Member] = []
    offset, widest = start, 1
    for name, size in fields:
        alignment = min(size, LARGEST_ALIGNMENT)
        widest = max(widest, alignment)
        gap = -offset % alignment
        if gap:
            members.append(Member(f"pad{offset}", offset, gap, gap))
        members.append(Member(name, offset + gap, size))
        offset += gap + size
    tail = -offset % widest
    if tail:
        members.append(Member(f"pad{offset}", offset, tail, tail))
    return Layout(tuple(members), offset + tail)


def identifier(name: str) -> str:
    """A name of PCN (`vlan.inner`, `ipv4.src`) as part of a C identifier."""
    return name.replace(".", "_")


def member_name(column: Column) -> str:
    """The member that holds a column's value in a key or an entry."""
    return identifier(column.name)


def live_columns(block: TableBlock) -> tuple[Column, ...]:
    """The columns that the block still matches."""
    return tuple(block.table.columns[index] for index in block.columns)


def classifier_of(block: TableBlock) -> Classifier:
    """The structure that holds the rules: `list` where order decides, `lpm_trie` with an lpm column, else `hash`."""
    columns = live_columns(block)
    if block.table.ordered or not columns:
        return "list"
    return "lpm_trie" if any(column.kind == "lpm" for column in columns) else "hash"


def key_layout(block: TableBlock) -> Layout:
    """The key of a `hash` (host order) or an `lpm_trie` (big-endian, `present` before the lpm column, which comes last)."""
    columns = sorted(live_columns(block), key=lambda column: -storage(column.type.bits))
    sized = [(member_name(column), storage(column.type.bits)) for column in columns if column.kind != "lpm"]
    if classifier_of(block) == "hash":
        return lay_out(sized)
    (prefixed,) = (column for column in columns if column.kind == "lpm")
    return lay_out([("prefixlen", 4), *sized, ("present", 4), (member_name(prefixed), storage(prefixed.type.bits))])


RULE_HEAD = (("action", 4), ("counter", 4))
"""What every rule's value begins with: which action, and which slot of the counters."""


def argument_layout(parameters: Sequence[Parameter]) -> Layout:
    """The arguments of one action, as they follow the head of a rule."""
    return lay_out([(parameter.name, storage(parameter.type.bits)) for parameter in parameters])


def entry_layout(block: TableBlock) -> Layout:
    """An entry of a `list`: which columns are asked about, then what each must be; the arguments come behind it."""
    fields: list[tuple[str, int]] = [("asked", 8)]
    for column in sorted(live_columns(block), key=lambda column: -storage(column.type.bits)):
        size, name = storage(column.type.bits), member_name(column)
        ends = (f"{name}_low", f"{name}_high") if column.kind == "range" else (name, f"{name}_mask")
        fields += [(end, size) for end in ends]
    return lay_out(fields, start=8)


def arguments_offset(block: TableBlock) -> int:
    """Where in a rule's value the arguments begin."""
    head = entry_layout(block).size if classifier_of(block) == "list" else 8
    return head + -head % LARGEST_ALIGNMENT


def value_size(block: TableBlock, actions: Sequence[Action]) -> int:
    """Bytes of a rule's value: the head, the match of a list's entry, and room for the longest arguments, as C rounds it."""
    layouts = [argument_layout(action.parameters) for action in actions]
    sizes = [4, *(8 for _ in range(classifier_of(block) == "list"))]
    sizes += [member.size for layout in layouts for member in layout.members if not member.count]
    alignment = min(max(sizes), LARGEST_ALIGNMENT)
    union = max((layout.size for layout in layouts), default=0)
    total = arguments_offset(block) + union
    return total + -total % alignment
