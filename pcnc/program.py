"""What a file means: the resolved program, typed and with every name bound. No text, no tools, no kernel.

`resolve` makes it, `interpret` runs it, `graph` lowers it. Every value is an unsigned integer in host order; a bool is 0
or 1. Every expression knows its type. Spans lead back to the source and never take part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pcnc.rules import Interval, MaskedValue, MatchKind, Parameter, Rule, TableSchema
from pcnc.source import Source, Span
from pcnc.types import BOOL, Type


def _span() -> Span:
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


# ---- headers


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of a header instance: `FieldRef("vlan.inner", "id")`. The header may be an `either` (`l4`)."""

    header: str
    name: str

    def __str__(self) -> str:
        return f"{self.header}.{self.name}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header: `offset` bits from its first bit (network bit order: 0 is the most significant), `type.bits` wide."""

    name: str
    offset: int
    type: Type
    assignable: bool = True
    """False where the field chooses the layout: read by a size, verify, extent or opaque clause or a parent's condition."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A header instance that this one can follow, and the condition (over the parent's fields) under which it does."""

    header: str
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Checksum:
    """An Internet checksum (RFC 1071) in `field`, over this header, its payload and the enclosing IP pseudo-header.

    `optional`: 0 means "no checksum" over IPv4, and a computed 0 is written 0xffff (RFC 768, RFC 8200 8.1).
    """

    field: str
    header: bool
    payload: bool
    pseudo: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class HeaderInstance:
    """One place in the parse graph. A header with a depth has several: `ipv6_ext`, `ipv6_ext.inner`, `ipv6_ext.2`, ….

    It is present when a parent is present and not opaque, that parent's condition holds, `size` bytes from its first one
    lie inside the frame and inside every extent around it, `verify` holds, and its own extent is not smaller than its size.
    Of several children whose conditions hold, the first declared is taken.
    """

    name: str
    header: str
    index: int
    fields: tuple[Field, ...]
    length: int
    """Bytes of the declared fields: the least it can be."""
    size: Expression | None
    """Bytes including options, read from its own fields; None: always `length`. A size below `length` is malformed: absent."""
    verify: Expression | None
    extent: Expression | None
    """Bytes from this header's first one to the end of what it carries; None: states nothing."""
    opaque: Expression | None
    """When true, nothing behind this header is parsed (a later fragment)."""
    parents: tuple[Parent, ...]
    """Empty only for `eth`, which stands at the first byte of the frame."""
    checksum: Checksum | None
    span: Span = _span()

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(f"{self.name}.{name}")


@dataclass(frozen=True, slots=True)
class Either:
    """A name for header instances of which a packet has at most one: `l4` is `tcp` or `udp`. `fields` are those all have."""

    name: str
    members: tuple[str, ...]
    fields: tuple[Field, ...]
    """Type and name as in the members; `offset` is the first member's."""


@dataclass(frozen=True, slots=True)
class Headers:
    """All header instances, each after its parents, and the eithers."""

    instances: tuple[HeaderInstance, ...]
    eithers: tuple[Either, ...]

    def instance(self, name: str) -> HeaderInstance:
        """The instance of that name; KeyError if there is none."""
        for candidate in self.instances:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def members(self, name: str) -> tuple[str, ...]:
        """The instances that a name stands for: those of an either, or the one of that name."""
        for either in self.eithers:
            if either.name == name:
                return either.members
        return (self.instance(name).name,)

    def children(self, name: str) -> tuple[HeaderInstance, ...]:
        """The instances that can follow one, in order of declaration."""
        return tuple(i for i in self.instances if any(p.header == name for p in i.parents))


# ---- expressions


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known to the compiler."""

    value: int
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FieldRead:
    """The field's value as the packet is now. Its header is present wherever this is reached (resolve has proved it)."""

    field: FieldRef
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class HeaderPresent:
    """Whether any of these header instances is present."""

    headers: tuple[str, ...]
    span: Span = _span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class MetaRead:
    """Per-packet state."""

    name: str
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """A setting's present value."""

    name: str
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class LocalRead:
    """A `let` or an action's parameter; names are unique inside one stage or action body."""

    name: str
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class PacketLength:
    """The frame's length in bytes, Ethernet header and tags included: u32."""

    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Complement:
    """`~x`, in the operand's width."""

    operand: Expression
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Not:
    """`not x` of a bool."""

    operand: Expression
    span: Span = _span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Both operands and the result have `type`; the result wraps. `x / 0` is 0, `x % 0` is x, a shift by the width or more is 0.

    `-x` is `0 - x`. Over ipv6_addr (128 bits) resolve lets only `& | ^` pass.
    """

    operator: Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]
    left: Expression
    right: Expression
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Compare:
    """An unsigned comparison of two values of the same width."""

    operator: Literal["==", "!=", "<", "<=", ">", ">="]
    left: Expression
    right: Expression
    span: Span = _span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Logic:
    """`and`, `or`: the right side is evaluated only where the left does not decide."""

    operator: Literal["and", "or"]
    left: Expression
    right: Expression
    span: Span = _span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Membership:
    """`operand in (…)`: whether any of the patterns matches."""

    operand: Expression
    patterns: tuple[Interval | MaskedValue, ...]
    span: Span = _span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Cast:
    """The operand in another width: zero-extended, or cut to the low bits."""

    operand: Expression
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then` where the condition holds, else `otherwise`; made for a header's sizes."""

    condition: Expression
    then: Expression
    otherwise: Expression
    type: Type
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class CounterRead:
    """Only in a test's `expect`: packets or bytes counted by a table's rule (from 1, in the order written) or, 0, its default."""

    table: str
    rule: int
    unit: Literal["packets", "bytes"]
    type: Type
    span: Span = _span()


Expression = (
    Constant
    | FieldRead
    | HeaderPresent
    | MetaRead
    | ConfigRead
    | LocalRead
    | PacketLength
    | Complement
    | Not
    | Arithmetic
    | Compare
    | Logic
    | Membership
    | Cast
    | Conditional
    | CounterRead
)


# ---- statements


@dataclass(frozen=True, slots=True)
class Let:
    """Binds a local; its name is unique inside the body."""

    name: str
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class AssignField:
    """Writes a header field and every checksum that covers it. The value has the field's type; its header is present."""

    field: FieldRef
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class AssignMeta:
    """Writes per-packet state."""

    name: str
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class If:
    """Runs one side."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span = _span()


VerdictKind = Literal["drop", "pass", "next"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`drop` and `pass` end the packet's way; `next` leaves the stage or table entered from the chain and goes on."""

    kind: VerdictKind
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class CallAction:
    """Runs an action's body here, with these arguments bound to its parameters."""

    action: str
    arguments: tuple[Expression, ...]
    span: Span = _span()


Statement = Let | AssignField | AssignMeta | If | Verdict | CallAction


# ---- members


@dataclass(frozen=True, slots=True)
class Action:
    """A body with typed parameters; `drop`, `next` and `pass` are actions of one Verdict."""

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Column:
    """What a table matches: `name` as written (`ipv4.src`), the value, and the headers of which one must be present for it.

    A meta has no headers: it is always there.
    """

    name: str
    kind: MatchKind
    value: FieldRead | MetaRead
    headers: tuple[str, ...]

    @property
    def type(self) -> Type:
        """The type of the value matched."""
        return self.value.type


@dataclass(frozen=True, slots=True)
class Table:
    """A match/action stage. `rules` are those of the file, in the order written; `actions` the names a rule may use.

    An absent field equals nothing but `*`. Unordered: the rule whose every column matches, the longest lpm first (where
    a `*` in the lpm column is shorter than /0). Ordered: the first matching rule. No rule: `default`.
    """

    name: str
    columns: tuple[Column, ...]
    actions: tuple[str, ...]
    default: CallAction
    ordered: bool
    size: int
    count_packets: bool
    count_bytes: bool
    rules: tuple[Rule, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Stage:
    """Statements under a name; at their end the packet goes on to the next step."""

    name: str
    body: tuple[Statement, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ApplyTable:
    """A step: look the packet up in a table."""

    table: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RunStage:
    """A step: run a stage (looked up in Service.stages)."""

    stage: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Branch:
    """A step: one of two lists of steps."""

    condition: Expression
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]
    span: Span = _span()


Step = ApplyTable | RunStage | Branch

ChainName = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps that packets of one direction take; at the end the packet goes on (`next`)."""

    name: ChainName
    steps: tuple[Step, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Meta:
    """Per-packet state, zero at the start of a chain."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Config:
    """A setting and the value it starts with."""

    name: str
    type: Type
    value: int


# ---- tests


@dataclass(frozen=True, slots=True)
class LayerValues:
    """A header of a test packet and the fields that were given; all others are filled in (packet.py has the defaults)."""

    header: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """Raw bytes at the end of a test packet (`payload(n)` is n zero bytes)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PacketTemplate:
    """A packet as a test writes it; `truncate` cuts the finished frame to so many bytes."""

    layers: tuple[LayerValues | Payload, ...]
    truncate: int | None


@dataclass(frozen=True, slots=True)
class TestRules:
    """Sets a table's rules, adding to those that the test has set so far."""

    __test__ = False
    table: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class TestConfig:
    """Sets a setting."""

    __test__ = False
    config: str
    value: int


@dataclass(frozen=True, slots=True)
class TestSend:
    """Sends one packet through a chain."""

    __test__ = False
    chain: ChainName
    packet: PacketTemplate
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TestExpect:
    """What became of the last packet sent: its verdict, and conditions over its fields as it left."""

    __test__ = False
    verdict: VerdictKind
    conditions: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TestExpectState:
    """A condition over counters."""

    __test__ = False
    condition: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Test:
    """Starts from nothing: no rules (the file's neither), settings at their declared values, counters 0."""

    __test__ = False
    name: str
    items: tuple[TestRules | TestConfig | TestSend | TestExpect | TestExpectState, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Service:
    """A transparent service, all its names resolved. Tuples keep the order of declaration."""

    name: str
    tables: tuple[Table, ...]
    actions: tuple[Action, ...]
    """All actions that can be called, `drop`, `next` and `pass` included."""
    stages: tuple[Stage, ...]
    chains: tuple[Chain, ...]
    metas: tuple[Meta, ...]
    configs: tuple[Config, ...]
    tests: tuple[Test, ...]
    span: Span = _span()
    schemas: tuple[TableSchema, ...] = ()
    """The tables as rules see them, in the order of `tables`."""

    def table(self, name: str) -> Table:
        """The table of that name; KeyError if there is none."""
        for candidate in self.tables:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def action(self, name: str) -> Action:
        """The action of that name; KeyError if there is none."""
        for candidate in self.actions:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError if there is none."""
        for candidate in self.stages:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Program:
    """A file's headers (the prelude's first) and services."""

    headers: Headers
    services: tuple[Service, ...]
    source: Source = field(compare=False, repr=False)
