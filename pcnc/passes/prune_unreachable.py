"""An action that no rule names and a block that no packet can reach are gone."""

from __future__ import annotations

from dataclasses import replace

from pcnc.blocks import Block, TableBlock
from pcnc.graph import Pipeline, expected_labels
from pcnc.shape import Shape


def prune_unreachable(pipeline: Pipeline, shape: Shape) -> Pipeline:
    """Keeps the actions that rules name, the ways that these leave open, and the blocks on them.

    Before: acl (all rules drop, default drop) → nat → next
    After:  acl → drop
    Needs:  the shape of the rules.
    Keeps:  verdicts, bytes, counters.
    """
    blocks: dict[str, Block] = {
        name: replace(block, actions=tuple(a for a in block.actions if a in shape.table(block.table.name).actions))
        if isinstance(block, TableBlock)
        else block
        for name, block in pipeline.blocks.items()
    }
    edges = tuple(edge for edge in pipeline.edges if edge.label in expected_labels(blocks[edge.origin], pipeline.service))
    reached: set[str] = set()
    ahead = [pipeline.entry]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(edge.target for edge in edges if edge.origin == name)
    kept = {name: block for name, block in blocks.items() if name in reached}
    return pipeline.replace(kept, tuple(edge for edge in edges if edge.origin in reached), pipeline.entry)
