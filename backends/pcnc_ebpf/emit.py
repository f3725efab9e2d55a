"""From an optimised pipeline to C: one file for each micro-block. Pure: text out, nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pcnc.blocks import Block
from pcnc.graph import Pipeline
from pcnc.line_directives import line_directive, with_directive_on_each_line
from pcnc.manifest import Hook
from pcnc.program import Chain
from pcnc_ebpf.frame import Frame, make_frame
from pcnc_ebpf.names import function_name
from pcnc_ebpf.reasons import reasons_of
from pcnc_ebpf.template_view import BlockView

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True, slots=True)
class EmittedBlock:
    """One micro-block: its slot in the generation's PROG_ARRAY, the name of its program, and its C, line directives included."""

    name: str
    slot: int
    function: str
    code: str
    block: Block


@dataclass(frozen=True, slots=True)
class EmittedChain:
    """The C of one chain for one hook, and what the loader must know: the frame's bytes and the reasons that are counted."""

    pipeline: Pipeline
    hook: Hook
    blocks: tuple[EmittedBlock, ...]
    frame: Frame
    reasons: tuple[str, ...]


def emit(pipeline: Pipeline, hook: Hook) -> EmittedChain:
    """The micro-blocks of a pipeline in the order in which packets meet them; the first has slot 0.

    A pipeline that does nothing still has one block, which ends every packet's way with `next`.
    """
    chain = next(chain for chain in pipeline.service.chains if chain.name == pipeline.chain)
    reasons = reasons_of(pipeline.service, chain)
    frame = make_frame(pipeline.headers, pipeline.service, pipeline.needs())
    programs = list(pipeline.programs()) or [pipeline.blocks[pipeline.entry]]
    slots = {block.name: index for index, block in enumerate(programs) if block.name != "next"}
    views = BlockView(pipeline, frame, hook, reasons, slots)
    emitted = []
    for index, block in enumerate(programs):
        template, view = views.view(block)
        code = with_directive_on_each_line(_environment().get_template(template).render(view))
        name = "end" if block.name == "next" else block.name
        emitted.append(EmittedBlock(name, index, function_name(name), code, block))
    return EmittedChain(pipeline, hook, tuple(emitted), frame, reasons)


def render_entry(service: str, chain: Chain, hook: Hook) -> str:
    """The C of the program that is attached to devices, and jumps to the live generation's first block."""
    view = {"service": service, "chain": chain.name, "hook": hook, "place": line_directive(chain.span)}
    return with_directive_on_each_line(_environment().get_template("entry.c.j2").render(view))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("pcnc_ebpf", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
