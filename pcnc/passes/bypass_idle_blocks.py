"""A stage that changes nothing and always goes on, and a branch whose ways lead to one place, are left out."""

from __future__ import annotations

from typing import assert_never

from pcnc.blocks import Block, BranchBlock, StageBlock
from pcnc.graph import Edge, Pipeline
from pcnc.program import AssignField, AssignMeta, CallAction, If, Let, Service, Statement, Verdict
from pcnc.shape import Shape


def bypass_idle_blocks(pipeline: Pipeline, shape: Shape) -> Pipeline:
    """Leads every way into an idle block to that block's successor, until no idle block is left.

    Before: parser → sources (a stage: next) → destinations → next
    After:  parser → destinations → next
    Needs:  nothing of the rules.
    Keeps:  verdicts, bytes, counters: a default that is counted stays.
    """
    while True:
        for block in pipeline.blocks.values():
            successor = _successor_of_idle(block, pipeline)
            if successor is not None:
                pipeline = _bypass(pipeline, block.name, successor)
                break
        else:
            return pipeline


def _successor_of_idle(block: Block, pipeline: Pipeline) -> str | None:
    match block:
        case StageBlock(body=body) if not counts_default(block) and not _has_effect(body, pipeline.service):
            return pipeline.successor(block.name)
        case BranchBlock(name=name) if pipeline.successor(name, "then") == pipeline.successor(name, "else"):
            return pipeline.successor(name, "then")
        case _:
            return None


def _bypass(pipeline: Pipeline, name: str, successor: str) -> Pipeline:
    edges = tuple(
        Edge(edge.origin, successor if edge.target == name else edge.target, edge.label)
        for edge in pipeline.edges
        if edge.origin != name
    )
    blocks = {other: kept for other, kept in pipeline.blocks.items() if other != name}
    return pipeline.replace(blocks, edges, successor if pipeline.entry == name else pipeline.entry)


def counts_default(block: StageBlock) -> bool:
    """Whether the stage is what is left of a table that counts."""
    table = block.default_of
    return table is not None and (table.count_packets or table.count_bytes)


def _has_effect(body: tuple[Statement, ...], service: Service) -> bool:
    for statement in body:
        match statement:
            case AssignField() | AssignMeta():
                return True
            case Verdict(kind=kind):
                return kind != "next"
            case If(then=then, otherwise=otherwise):
                if _has_effect(then, service) or _has_effect(otherwise, service):
                    return True
            case CallAction(action=action):
                if _has_effect(service.action(action).body, service):
                    return True
            case Let():
                pass
            case _:
                assert_never(statement)
    return False
