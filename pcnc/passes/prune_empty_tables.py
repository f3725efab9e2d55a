"""A table without rules becomes its default action."""

from __future__ import annotations

from pcnc.blocks import Block, StageBlock, TableBlock
from pcnc.graph import Edge, Pipeline, expected_labels
from pcnc.shape import Shape


def prune_empty_tables(pipeline: Pipeline, shape: Shape) -> Pipeline:
    """Turns each table that holds no rule into a stage that runs its default.

    Before: parser → sources (no rules, default next) → destinations → next
    After:  parser → sources (a stage: next) → destinations → next
    Needs:  the shape of the rules.
    Keeps:  verdicts, bytes, and the count of the default.
    """
    blocks: dict[str, Block] = {}
    edges = list(pipeline.edges)
    for name, block in pipeline.blocks.items():
        if isinstance(block, TableBlock) and shape.table(block.table.name).is_empty:
            stage = StageBlock(name, block.table.name, (block.table.default,), block.table, block.table.default.span)
            labels = expected_labels(stage, pipeline.service)
            blocks[name] = stage
            edges = [edge for edge in edges if edge.origin != name or edge.label in labels]
        else:
            blocks[name] = block
    return pipeline.replace(blocks, tuple[Edge, ...](edges), pipeline.entry)
