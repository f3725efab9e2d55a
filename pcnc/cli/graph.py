"""`pcnc graph`: a service's chains as text or as SVG, what was pruned greyed out; `pcnc passes`: what prunes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.compile_service import Chosen, read_service
from pcnc.cli.options import AsJson, ServiceOption, SourceArgument
from pcnc.cli.report import guarded, in_colour, print_json
from pcnc.program_words import ChainName
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc.blocks import Needs
    from pcnc.graph import Pipeline


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(short_help="Draw a pipeline, as text or SVG.")(graph)
    app.command(short_help="List the passes of the optimiser.")(passes)


@guarded
def graph(
    file: SourceArgument,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG; - is standard output.")] = None,
    graphml: Annotated[
        Path | None,
        typer.Option("--graphml", metavar="FILE", help="Write what runs as GraphML, for graph tools; - is standard output."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="PASS", help="Stop behind this pass; `pcnc passes` lists them.")
    ] = None,
    chain: Annotated[ChainName | None, typer.Option("--chain", help="Only this chain.")] = None,
    general: Annotated[bool, typer.Option("--general", help="For whatever rules come, not for those of the file.")] = False,
    service: ServiceOption = None,
    as_json: AsJson = False,
) -> None:
    """Draw the blocks of a service, the ways between them, what each reads, and what the optimiser prunes."""
    chosen = read_service(file, service)
    pairs = [(whole, kept) for whole, kept in _pipelines(chosen, after, general) if chain in (None, whole.chain)]
    if not pairs:
        has = ", ".join(f"`{each.name}`" for each in chosen.service.chains)
        raise RuntimeProblem("no-such-chain", f"service {chosen.service.name} has no chain `{chain}`", f"it has {has}")
    if as_json:
        print_json({"service": chosen.service.name, "after": after, "chains": [_as_json(whole, kept) for whole, kept in pairs]})
        return
    if graphml is not None:
        _write(graphml, _as_graphml([kept for _, kept in pairs]))
        return
    from pcnc.picture_of_pipeline import picture_of_pipeline

    rules = {} if general else {table.name: len(table.rules) for table in chosen.service.tables}
    pictures = [picture_of_pipeline(whole, kept, rules) for whole, kept in pairs]
    if svg is not None:
        from pcnc.draw_svg import draw_svg

        _write(svg, draw_svg(pictures))
        return
    from pcnc.draw_text import draw_text

    width = shutil.get_terminal_size().columns
    print("\n".join(draw_text(picture, width, colour=in_colour(sys.stdout)) for picture in pictures))


@guarded
def passes(as_json: AsJson = False) -> None:
    """List the passes of the optimiser in their order."""
    from pcnc.optimise import PASSES

    described = [(each.__name__, (each.__doc__ or "").strip().partition("\n")[0]) for each in PASSES]
    if as_json:
        print_json([{"name": name, "what": what} for name, what in described])
        return
    width = max(len(name) for name, _ in described)
    for name, what in described:
        print(f"{name:<{width}}  {what}")


def _pipelines(chosen: Chosen, after: str | None, general: bool) -> Iterable[tuple[Pipeline, Pipeline]]:
    """Each chain as it was written, and what the passes leave of it."""
    from pcnc.compile import pipelines, shape_of_file
    from pcnc.lower import lower
    from pcnc.optimise import PASS_NAMES
    from pcnc.shape import widest_shape

    if after is not None and after not in PASS_NAMES:
        raise RuntimeProblem("no-such-pass", f"there is no pass `{after}`", f"the passes are {', '.join(PASS_NAMES)}")
    shape = widest_shape(chosen.service.schemas) if general else shape_of_file(chosen.service)
    whole = lower(chosen.program, chosen.service)
    return zip(whole, pipelines(chosen.program, chosen.service, shape, after), strict=True)


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        print(text)
    else:
        path.write_text(text, encoding="utf-8")
        print(path)


def _as_graphml(kept: Iterable[Pipeline]) -> str:
    """The pipelines side by side in one graph; nodes are called `chain.block`."""
    import networkx

    whole = networkx.MultiDiGraph()
    for pipeline in kept:
        for name, block in pipeline.blocks.items():
            whole.add_node(f"{pipeline.chain}.{name}", kind=_kind(block))
        for origin, target, label in pipeline.digraph().edges(keys=True):
            whole.add_edge(f"{pipeline.chain}.{origin}", f"{pipeline.chain}.{target}", label=label)
    return "\n".join(networkx.generate_graphml(whole))


def _as_json(whole: Pipeline, kept: Pipeline) -> dict[str, Any]:
    edges = dict.fromkeys((*whole.edges, *kept.edges))
    before, after = _parsed(whole), _parsed(kept)
    return {
        "chain": whole.chain,
        "entry": kept.entry,
        "blocks": [{"name": name, "kind": _kind(block), "pruned": name not in kept.blocks} for name, block in whole.blocks.items()],
        "edges": [
            {"from": edge.origin, "to": edge.target, "label": edge.label, "pruned": edge not in kept.edges} for edge in edges
        ],
        "parses": {
            "fields": _in_order(map(str, after.fields)),
            "headers": _in_order(after.headers),
            "pruned_fields": _in_order(map(str, before.fields - after.fields)),
            "pruned_headers": _in_order(before.headers - after.headers),
        },
        "longest_path": kept.longest_path(),
    }


def _parsed(pipeline: Pipeline) -> Needs:
    """What the parser looks for; nothing where there is none."""
    from pcnc.blocks import Needs

    parser = pipeline.parse_block()
    return parser.needs if parser is not None else Needs()


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names)


def _kind(block: object) -> str:
    return type(block).__name__.removesuffix("Block").lower()
