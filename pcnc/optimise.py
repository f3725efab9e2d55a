"""The optimiser: the passes in their order, each followed by a check of the graph."""

from __future__ import annotations

from collections.abc import Callable

from pcnc.graph import Pipeline
from pcnc.passes.bypass_idle_blocks import bypass_idle_blocks
from pcnc.passes.prune_empty_tables import prune_empty_tables
from pcnc.passes.prune_match_columns import prune_match_columns
from pcnc.passes.prune_parse import prune_parse
from pcnc.passes.prune_unreachable import prune_unreachable
from pcnc.shape import Shape

Pass = Callable[[Pipeline, Shape], Pipeline]

PASSES: tuple[Pass, ...] = (
    prune_empty_tables,
    prune_match_columns,
    prune_unreachable,
    bypass_idle_blocks,
    prune_parse,
)

PASS_NAMES: tuple[str, ...] = tuple(each.__name__ for each in PASSES)


def optimise(pipeline: Pipeline, shape: Shape, last: str | None = None) -> Pipeline:
    """Runs all passes, or those up to and with the one named `last`.

    Raises KeyError where there is no pass of that name, GraphError where a pass breaks the graph.
    """
    if last is not None and last not in PASS_NAMES:
        raise KeyError(last)
    for each in PASSES:
        pipeline = each(pipeline, shape)
        pipeline.check()
        if each.__name__ == last:
            break
    return pipeline
