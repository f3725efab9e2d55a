"""A header or field that nobody reads any more is not parsed; the point of the paper's Figure 1."""

from __future__ import annotations

from pcnc.blocks import ParseBlock
from pcnc.graph import Pipeline
from pcnc.shape import Shape


def prune_parse(pipeline: Pipeline, shape: Shape) -> Pipeline:
    """Reduces the parser to what the remaining blocks need, to nothing if they need nothing.

    Before: parser (ipv4.src, ipv4.dst) → sources → next
    After:  parser (ipv4.src) → sources → next
    Needs:  nothing of the rules; runs after the passes that take blocks away.
    Keeps:  verdicts, bytes, counters.
    """
    parser = pipeline.parse_block()
    if parser is None:
        return pipeline
    needs = pipeline.needs()
    if needs.headers or needs.metas:
        return pipeline.replace({**pipeline.blocks, parser.name: ParseBlock(parser.name, needs)}, pipeline.edges, pipeline.entry)
    first = pipeline.successor(parser.name)
    if first is None or pipeline.entry != parser.name:
        return pipeline
    edges = tuple(edge for edge in pipeline.edges if edge.origin != parser.name)
    targets = {edge.target for edge in edges} | {first}
    kept = {name: block for name, block in pipeline.blocks.items() if name in targets}
    return pipeline.replace(kept, edges, first)
