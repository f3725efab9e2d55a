"""What was written: the frozen syntax tree, one class for each construct of the grammar.

Spans never take part in equality, so two trees are equal when they say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pcnc.source import Span


def _span() -> Span:
    return field(compare=False, repr=False)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name where it is declared or referred to."""

    text: str
    span: Span = _span()


# ---- expressions


@dataclass(frozen=True, slots=True)
class Number:
    """`80`, `0x800`, `64k`: an integer without a type of its own (it takes the other operand's)."""

    value: int
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class DurationLiteral:
    """`5ms`, `30s`: a length of time in nanoseconds."""

    nanoseconds: int
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class AddressLiteral:
    """`10.0.0.1`, `2001:db8::1`, `02:00:00:00:00:01`, its value in host order."""

    kind: Literal["ipv4", "ipv6", "mac"]
    value: int
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class PrefixLiteral:
    """`10.0.0.0/8`: an address and how many leading bits count. Bits beyond may be set here; resolve objects."""

    kind: Literal["ipv4", "ipv6"]
    value: int
    length: int
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """`"text"`, without its quotes."""

    value: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name used as an operand: a header, constant, setting, let, parameter, meta, `true`, `false`."""

    text: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.name`: a field of a header, a member, a property (`ipv4.src`, `vlan.inner`, `eth.dst.is_multicast`)."""

    value: Expression
    name: Identifier
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Call:
    """`function(argument, …)`: an action, or a type used as a cast (`u16(x)`)."""

    function: Expression
    arguments: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Index:
    """`value[index]`, in this version only in tests: `sources[1].packets`."""

    value: Expression
    index: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `~x`, `not x`."""

    operator: Literal["-", "~", "not"]
    operand: Expression
    span: Span = _span()


BinaryOperator = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in"]


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: BinaryOperator
    left: Expression
    right: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Range:
    """`80..90`, both ends included; only on the right of `in`."""

    low: Expression
    high: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Masked:
    """`0x02 &&& 0x12`: value and mask; only on the right of `in`."""

    value: Expression
    mask: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(tcp, udp)`: a set on the right of `in`."""

    items: tuple[Expression, ...]
    span: Span = _span()


Expression = (
    Number
    | DurationLiteral
    | AddressLiteral
    | PrefixLiteral
    | StringLiteral
    | Name
    | Attribute
    | Call
    | Index
    | Unary
    | Binary
    | Range
    | Masked
    | Tuple
)


# ---- statements


@dataclass(frozen=True, slots=True)
class Let:
    """`let name = value`."""

    name: Identifier
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Assign:
    """`target = value`, `target += value` (operator `+`), and so on; operator is empty for plain `=`."""

    target: Expression
    operator: Literal["", "+", "-", "|", "&", "^"]
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Do:
    """An expression as a statement: a verdict (`drop`), an action (`mark`, `mark(3)`); in a chain also a table or stage."""

    expression: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class If:
    """`if condition { … } else { … }`; `else if` is an otherwise with one If."""

    condition: Expression
    then: Block
    otherwise: Block | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Stage:
    """`stage name { … }`, in a chain or at service level."""

    name: Identifier
    body: Block
    span: Span = _span()


Statement = Let | Assign | Do | If | Stage


@dataclass(frozen=True, slots=True)
class Block:
    """Statements between braces."""

    statements: tuple[Statement, ...]
    span: Span = _span()


# ---- declarations


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written: `u16`, `ipv4_addr`, the name of an enum."""

    text: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class FieldDeclaration:
    """`name: type` in a header; the name `_` is padding."""

    name: Identifier
    type: TypeName
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class SizeCase:
    """One case of a header's size in bytes: `8 when previous.next == 44`; the last has no condition."""

    value: Expression
    condition: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ParentDeclaration:
    """`after eth when eth.type == 0x0800`: what this header follows, and when."""

    header: Identifier
    condition: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ChecksumClause:
    """`checksum field covers pseudo, payload optional`: which Internet checksum lies in which field (RFC 1071).

    `covers` holds words among `header`, `payload`, `pseudo`; with `optional` a 0 means "no checksum" over IPv4 (RFC 768).
    """

    field: Identifier
    covers: tuple[Identifier, ...]
    optional: bool
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class HeaderDeclaration:
    """`header name[depth] size … after … { fields and clauses }`.

    `verify` says when it is well formed; `extent` how many bytes it states from its own first byte to the end of what it
    carries; with `opaque` true nothing behind it is parsed.
    """

    name: Identifier
    depth: int
    size: tuple[SizeCase, ...]
    parents: tuple[ParentDeclaration, ...]
    fields: tuple[FieldDeclaration, ...]
    verify: Expression | None
    extent: Expression | None
    opaque: Expression | None
    checksum: ChecksumClause | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class EitherDeclaration:
    """`either l4 { tcp, udp }`: a name for the fields that all members have."""

    name: Identifier
    members: tuple[Identifier, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class EnumMember:
    """`name` or `name = value`."""

    name: Identifier
    value: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class EnumDeclaration:
    """`enum name: type { a, b = 4 }`; a member without a value is one more than the one before, the first 0."""

    name: Identifier
    type: TypeName
    members: tuple[EnumMember, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ConstDeclaration:
    """`const name: type = value`; without a type it takes that of its use."""

    name: Identifier
    type: TypeName | None
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ConfigDeclaration:
    """`config name: type = value`: a setting; without a value it starts as 0."""

    name: Identifier
    type: TypeName
    value: Expression | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class MetaDeclaration:
    """`meta name: type`: per-packet state, zero at the start."""

    name: Identifier
    type: TypeName
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Column:
    """`ipv4.src: lpm` in a table's `match`."""

    value: Expression
    kind: Identifier
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TableDeclaration:
    """`table name { match …; action …; default …; order …; size …; count … }`. A clause that is not there is None or empty."""

    name: Identifier
    columns: tuple[Column, ...]
    actions: tuple[Identifier, ...]
    default: Expression | None
    order: Identifier | None
    size: Number | None
    count: tuple[Identifier, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name: type` of an action."""

    name: Identifier
    type: TypeName
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ActionDeclaration:
    """`action name(parameters) { … }`."""

    name: Identifier
    parameters: tuple[Parameter, ...]
    body: Block
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class RulesDeclaration:
    """`rules table { … }`: the body's text, between its braces, which `pcnc.rules` reads."""

    table: Identifier
    body: Span
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ChainDeclaration:
    """`chain ingress { … }`."""

    name: Identifier
    body: Block
    span: Span = _span()


# ---- tests


@dataclass(frozen=True, slots=True)
class KeywordArgument:
    """`src = 10.0.0.1` in a packet's layer."""

    name: Identifier
    value: Expression
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class PacketLayer:
    """`ipv4(src=10.0.0.1)`, `vlan.inner` is written as a second `vlan`; also `payload(100)`, `bytes("0a 0b")`, `truncate(40)`."""

    name: Identifier
    arguments: tuple[Expression, ...]
    values: tuple[KeywordArgument, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Send:
    """`send ingress: eth / ipv4 / tcp`."""

    chain: Identifier
    layers: tuple[PacketLayer, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect drop`, `expect next with ipv4.ttl == 63, …`, `expect sources[1].packets == 1`."""

    value: Expression
    conditions: tuple[Expression, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TestDeclaration:
    """`test "name" { … }`; an Assign sets a setting."""

    __test__ = False
    name: StringLiteral
    items: tuple[RulesDeclaration | Assign | Send | Expect, ...]
    span: Span = _span()


Member = (
    TableDeclaration
    | ActionDeclaration
    | RulesDeclaration
    | ChainDeclaration
    | Stage
    | ConstDeclaration
    | ConfigDeclaration
    | MetaDeclaration
    | EnumDeclaration
    | TestDeclaration
)


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """`service name { … }`."""

    name: Identifier
    members: tuple[Member, ...]
    span: Span = _span()


Item = ServiceDeclaration | HeaderDeclaration | EitherDeclaration | EnumDeclaration | ConstDeclaration


@dataclass(frozen=True, slots=True)
class File:
    """A whole `.pcn` file."""

    items: tuple[Item, ...]
    span: Span = _span()
