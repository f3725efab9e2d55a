"""Micro-blocks: what one node of the pipeline graph is, what it needs of the parser and how it can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from pcnc.checksums import IPV4, covering
from pcnc.expression import ConfigRead, Expression, FieldRead, FieldRef, MetaRead
from pcnc.expression_walk import headers_asked, walk
from pcnc.parse_graph import Headers
from pcnc.program import AssignField, AssignMeta, CallAction, If, Let, Service, Statement, Table, Verdict
from pcnc.program_words import VerdictKind
from pcnc.source import Span


@dataclass(frozen=True, slots=True)
class Needs:
    """What a block asks of the blocks before it.

    `fields` are values that the parser has to extract, `presence` headers whose presence is asked, `offsets` headers whose
    place in the packet must be known because something in them is written; `metas` and `configs` by name.
    """

    fields: frozenset[FieldRef] = frozenset()
    presence: frozenset[str] = frozenset()
    offsets: frozenset[str] = frozenset()
    metas: frozenset[str] = frozenset()
    configs: frozenset[str] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.fields | other.fields,
            self.presence | other.presence,
            self.offsets | other.offsets,
            self.metas | other.metas,
            self.configs | other.configs,
        )

    @property
    def headers(self) -> frozenset[str]:
        """Every header that has to be found in the packet."""
        return self.presence | self.offsets | {ref.header for ref in self.fields}


@dataclass(frozen=True, slots=True)
class ParseBlock:
    """Finds headers in the packet and extracts what later blocks need; drops what is no Ethernet frame."""

    name: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class TableBlock:
    """Looks the packet up in a table. `columns` are the indexes of those still matched, `actions` what rules may do."""

    name: str
    table: Table
    columns: tuple[int, ...]
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageBlock:
    """Runs the statements of a stage. Where they are what is left of a table without rules, `default_of` is that table."""

    name: str
    stage: str
    body: tuple[Statement, ...]
    default_of: Table | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BranchBlock:
    """Goes one of two ways."""

    name: str
    condition: Expression
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class VerdictBlock:
    """Where a packet's way ends: `drop`, `pass`, or `next`, the end of the chain. Not a program of its own."""

    name: VerdictKind


Block = ParseBlock | TableBlock | StageBlock | BranchBlock | VerdictBlock


def expression_needs(expression: Expression, headers: Headers) -> Needs:
    """What has to be known to evaluate an expression."""
    parts = tuple(walk(expression))
    fields = (part.field for part in parts if isinstance(part, FieldRead))
    return Needs(
        fields=frozenset(FieldRef(member, ref.name) for ref in fields for member in headers.members(ref.header)),
        presence=frozenset(headers_asked(expression)),
        metas=frozenset(part.name for part in parts if isinstance(part, MetaRead)),
        configs=frozenset(part.name for part in parts if isinstance(part, ConfigRead)),
    )


def statement_needs(statement: Statement, service: Service, headers: Headers) -> Needs:
    """What a statement needs, with the bodies of the actions it calls."""
    match statement:
        case Let(value=value):
            return expression_needs(value, headers)
        case AssignMeta(name=name, value=value):
            return expression_needs(value, headers) | Needs(metas=frozenset({name}))
        case AssignField(field=ref, value=value):
            return expression_needs(value, headers) | _assignment_needs(ref, headers)
        case If(condition=condition, then=then, otherwise=otherwise):
            sides = body_needs(then, service, headers) | body_needs(otherwise, service, headers)
            return expression_needs(condition, headers) | sides
        case Verdict():
            return Needs()
        case CallAction(action=action, arguments=arguments):
            needs = body_needs(service.action(action).body, service, headers)
            for argument in arguments:
                needs |= expression_needs(argument, headers)
            return needs
        case _:
            assert_never(statement)


def _assignment_needs(ref: FieldRef, headers: Headers) -> Needs:
    members = headers.members(ref.header)
    needs = Needs(presence=frozenset(members) if len(members) > 1 else frozenset())
    for member in members:
        needs |= _sum_needs(FieldRef(member, ref.name), headers)
    return needs


def _sum_needs(ref: FieldRef, headers: Headers) -> Needs:
    """Where the field lies, and the sums that move with it, and those that move with these."""
    needs = Needs(offsets=frozenset({ref.header}))
    for covered in covering(headers, ref):
        checksum = headers.instance(covered.holder).checksum
        if checksum is None:
            continue
        presence = set() if covered.same_header else {covered.holder}
        if covered.pseudo or checksum.optional:
            presence.add(IPV4)
        needs |= Needs(presence=frozenset(presence)) | _sum_needs(FieldRef(covered.holder, checksum.field), headers)
    return needs


def body_needs(body: tuple[Statement, ...], service: Service, headers: Headers) -> Needs:
    """What a list of statements needs."""
    needs = Needs()
    for statement in body:
        needs |= statement_needs(statement, service, headers)
    return needs


def block_needs(block: Block, service: Service, headers: Headers) -> Needs:
    """What a block asks of the blocks before it; the parser and the verdicts ask nothing."""
    match block:
        case ParseBlock() | VerdictBlock():
            return Needs()
        case BranchBlock(condition=condition):
            return expression_needs(condition, headers)
        case StageBlock(body=body):
            return body_needs(body, service, headers)
        case TableBlock(table=table, columns=columns, actions=actions):
            needs = statement_needs(table.default, service, headers)
            for index in columns:
                column = table.columns[index]
                needs |= expression_needs(column.value, headers) | Needs(presence=frozenset(column.headers))
            for action in actions:
                needs |= body_needs(service.action(action).body, service, headers)
            return needs
        case _:
            assert_never(block)


def assigned_fields(body: tuple[Statement, ...], service: Service) -> frozenset[FieldRef]:
    """The fields that statements may write, those of the actions they call included."""
    fields: frozenset[FieldRef] = frozenset()
    for statement in body:
        match statement:
            case AssignField(field=ref):
                fields |= {ref}
            case If(then=then, otherwise=otherwise):
                fields |= assigned_fields(then, service) | assigned_fields(otherwise, service)
            case CallAction(action=action):
                fields |= assigned_fields(service.action(action).body, service)
            case Let() | AssignMeta() | Verdict():
                pass
            case _:
                assert_never(statement)
    return fields


def block_assigns(block: Block, service: Service) -> frozenset[FieldRef]:
    """The fields that a block may write."""
    match block:
        case StageBlock(body=body):
            return assigned_fields(body, service)
        case TableBlock(table=table, actions=actions):
            bodies = [service.action(action).body for action in actions]
            return frozenset[FieldRef]().union(*(assigned_fields(body, service) for body in ((table.default,), *bodies)))
        case ParseBlock() | BranchBlock() | VerdictBlock():
            return frozenset()
        case _:
            assert_never(block)


def verdicts_of(body: tuple[Statement, ...], service: Service) -> frozenset[VerdictKind | None]:
    """How a list of statements can end; None stands for reaching its end."""
    ends: set[VerdictKind | None] = set()
    for statement in body:
        match statement:
            case Verdict(kind=kind):
                return frozenset(ends | {kind})
            case If(then=then, otherwise=otherwise):
                inner = verdicts_of(then, service) | verdicts_of(otherwise, service)
            case CallAction(action=action):
                inner = verdicts_of(service.action(action).body, service)
            case _:
                continue
        ends |= inner - {None}
        if None not in inner:
            return frozenset(ends)
    return frozenset(ends | {None})


def block_verdicts(block: Block, service: Service) -> frozenset[VerdictKind]:
    """How a block can end, where going on to the next block and reaching the end are both `next`."""
    match block:
        case ParseBlock():
            return frozenset({"drop", "next"})
        case VerdictBlock(name=name):
            return frozenset({name})
        case BranchBlock():
            return frozenset({"next"})
        case StageBlock(body=body):
            ends = verdicts_of(body, service)
        case TableBlock(table=table, actions=actions):
            ends = verdicts_of((table.default,), service)
            for action in actions:
                ends |= verdicts_of(service.action(action).body, service)
        case _:
            assert_never(block)
    return frozenset("next" if end is None else end for end in ends)
