"""Declarations as written: headers, enums, constants, and the members of a service but for its tests."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.source import Span, uncompared_span
from pcnc.syntax.expressions import Expression, Identifier, Number
from pcnc.syntax.statements import Block


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written: `u16`, `ipv4_addr`, the name of an enum."""

    text: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class FieldDeclaration:
    """`name: type` in a header; the name `_` is padding."""

    name: Identifier
    type: TypeName
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class SizeCase:
    """One case of a header's size in bytes: `8 when previous.next == 44`; the last has no condition."""

    value: Expression
    condition: Expression | None
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ParentDeclaration:
    """`after eth when eth.type == 0x0800`: what this header follows, and when."""

    header: Identifier
    condition: Expression | None
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ChecksumClause:
    """`checksum field covers pseudo, payload optional`: which Internet checksum lies in which field (RFC 1071).

    `covers` holds words among `header`, `payload`, `pseudo`; with `optional` a 0 means "no checksum" over IPv4 (RFC 768).
    """

    field: Identifier
    covers: tuple[Identifier, ...]
    optional: bool
    span: Span = uncompared_span()


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
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class EitherDeclaration:
    """`either l4 { tcp, udp }`: a name for the fields that all members have."""

    name: Identifier
    members: tuple[Identifier, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class EnumMember:
    """`name` or `name = value`."""

    name: Identifier
    value: Expression | None
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class EnumDeclaration:
    """`enum name: type { a, b = 4 }`; a member without a value is one more than the one before, the first 0."""

    name: Identifier
    type: TypeName
    members: tuple[EnumMember, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ConstDeclaration:
    """`const name: type = value`; without a type it takes that of its use."""

    name: Identifier
    type: TypeName | None
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ConfigDeclaration:
    """`config name: type = value`: a setting; without a value it starts as 0."""

    name: Identifier
    type: TypeName
    value: Expression | None
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class MetaDeclaration:
    """`meta name: type`: per-packet state, zero at the start."""

    name: Identifier
    type: TypeName
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Column:
    """`ipv4.src: lpm` in a table's `match`."""

    value: Expression
    kind: Identifier
    span: Span = uncompared_span()


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
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name: type` of an action."""

    name: Identifier
    type: TypeName
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ActionDeclaration:
    """`action name(parameters) { … }`."""

    name: Identifier
    parameters: tuple[Parameter, ...]
    body: Block
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class RulesDeclaration:
    """`rules table { … }`: the body's text, between its braces, which `pcnc.rules` reads."""

    table: Identifier
    body: Span
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ChainDeclaration:
    """`chain ingress { … }`."""

    name: Identifier
    body: Block
    span: Span = uncompared_span()
