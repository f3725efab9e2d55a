"""Why a header is parsed: the line of PCN that wants something of it, which is what its piece of the parser answers for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from pcnc.blocks import (
    Block,
    BranchBlock,
    Needs,
    ParseBlock,
    StageBlock,
    TableBlock,
    VerdictBlock,
    expression_needs,
    statement_needs,
)
from pcnc.graph import Pipeline
from pcnc.program import CallAction, If, Statement
from pcnc.source import Span


def wanted_at(pipeline: Pipeline) -> Mapping[str, Span]:
    """For each header that some block needs, or that leads to one, the first line that packets meet which wants it."""
    found: dict[str, Span] = {}
    for block in pipeline.programs():
        for needs, span in _wants_of_block(block, pipeline):
            for header in sorted(needs.headers):
                found.setdefault(header, span)
    for instance in reversed(pipeline.headers.instances):
        for parent in instance.parents if instance.name in found else ():
            found.setdefault(parent.header, found[instance.name])
    return found


_Wants = Iterator[tuple[Needs, Span]]


def _wants_of_block(block: Block, pipeline: Pipeline) -> _Wants:
    match block:
        case TableBlock(table=table, columns=columns, actions=actions):
            for index in columns:
                column = table.columns[index]
                asked = Needs(presence=frozenset(column.headers))
                yield expression_needs(column.value, pipeline.headers) | asked, column.value.span
            yield from _wants_of_body((table.default,), pipeline)
            for action in actions:
                yield from _wants_of_body(pipeline.service.action(action).body, pipeline)
        case StageBlock(body=body):
            yield from _wants_of_body(body, pipeline)
        case BranchBlock(condition=condition, span=span):
            yield expression_needs(condition, pipeline.headers), span
        case ParseBlock() | VerdictBlock():
            pass
        case _:
            assert_never(block)


def _wants_of_body(body: tuple[Statement, ...], pipeline: Pipeline) -> _Wants:
    for statement in body:
        match statement:
            case If(condition=condition, then=then, otherwise=otherwise, span=span):
                yield expression_needs(condition, pipeline.headers), span
                yield from _wants_of_body(then, pipeline)
                yield from _wants_of_body(otherwise, pipeline)
            case CallAction(action=action, arguments=arguments, span=span):
                for argument in arguments:
                    yield expression_needs(argument, pipeline.headers), span
                yield from _wants_of_body(pipeline.service.action(action).body, pipeline)
            case _:
                yield statement_needs(statement, pipeline.service, pipeline.headers), statement.span
