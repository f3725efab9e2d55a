"""A column in which every rule says `*` is not matched."""

from __future__ import annotations

from dataclasses import replace

from pcnc.blocks import TableBlock
from pcnc.graph import Pipeline
from pcnc.shape import Shape


def prune_match_columns(pipeline: Pipeline, shape: Shape) -> Pipeline:
    """Takes the columns out of each table that no rule asks about.

    Before: acl matches ipv4.src, ipv4.dst, l4.dport; every rule has ipv4.src=* and ipv4.dst=*
    After:  acl matches l4.dport
    Needs:  the shape of the rules.
    Keeps:  which rule matches, for every packet.
    """
    blocks = {
        name: replace(block, columns=tuple(i for i in block.columns if i in shape.table(block.table.name).columns))
        if isinstance(block, TableBlock)
        else block
        for name, block in pipeline.blocks.items()
    }
    return pipeline.replace(blocks, pipeline.edges, pipeline.entry)
