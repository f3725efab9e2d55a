"""Draws a picture's cards and arrows from pipeline graphs: a chain as written, and what the passes have left of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from textwrap import dedent, wrap
from typing import assert_never

from pcnc.blocks import Block, BranchBlock, Needs, ParseBlock, StageBlock, TableBlock, VerdictBlock
from pcnc.graph import Pipeline
from pcnc.parse_graph import Headers
from pcnc.picture import Card, CardLine, Picture, Wiring, assemble, rules_note, table_card
from pcnc.program import CallAction, Service
from pcnc.source import Span

MOST_LINES = 9
"""Lines of a stage's source that its card shows."""
LONGEST_LINE = 36
"""Characters of source that a line of a card shows."""


def picture_of_pipeline(whole: Pipeline, kept: Pipeline, rules: Mapping[str, int]) -> Picture:
    """The picture of a chain. What is in `whole` but not in `kept` is pruned; `rules` are the rules by table, where known."""
    cards = [
        _card(block, kept.blocks.get(name), whole, rules)
        for name, block in whole.blocks.items()
        if not isinstance(block, VerdictBlock)
    ]
    title = f"{whole.service.name} · {whole.chain}"
    return assemble(title, whole.chain, cards, _wiring(whole), _wiring(kept), {})


def _wiring(pipeline: Pipeline) -> Wiring:
    return Wiring(pipeline.entry, tuple((edge.origin, edge.target, edge.label) for edge in pipeline.edges))


def _card(block: Block, left: Block | None, whole: Pipeline, rules: Mapping[str, int]) -> Card:
    pruned = left is None
    match block:
        case ParseBlock(name=name, needs=needs):
            remaining = left.needs if isinstance(left, ParseBlock) else Needs()
            return Card(name, "parser", _parser_lines(needs, remaining, whole.headers), pruned)
        case TableBlock(name=name):
            return _table_card(block, left, whole.service, rules)
        case StageBlock(name=name, body=body):
            return Card(name, "stage", _source_lines([statement.span for statement in body], pruned), pruned)
        case BranchBlock(name=name, condition=condition):
            return Card(name, "branch", _source_lines([condition.span], pruned, "if "), pruned)
        case VerdictBlock():
            raise ValueError("a verdict is no block of a picture")
        case _:
            assert_never(block)


def _parser_lines(needs: Needs, remaining: Needs, headers: Headers) -> tuple[CardLine, ...]:
    """A line for each field and each header only located, in the order of the headers in a frame; then the metas."""
    lines: list[CardLine] = []
    with_fields = {ref.header for ref in needs.fields}
    for instance in headers.instances:
        wanted = [ref for ref in needs.fields if ref.header == instance.name]
        order = [declared.name for declared in instance.fields]
        for ref in sorted(wanted, key=lambda ref: order.index(ref.name)):
            lines.append(CardLine(str(ref), ref not in remaining.fields))
        if instance.name in needs.headers - with_fields:
            lines.append(CardLine(instance.name, instance.name not in remaining.headers, "header"))
    lines += [CardLine(name, name not in remaining.metas, "meta") for name in sorted(needs.metas)]
    return tuple(lines)


def _table_card(block: TableBlock, left: Block | None, service: Service, rules: Mapping[str, int]) -> Card:
    table = block.table
    columns = left.columns if isinstance(left, TableBlock) else ()
    actions = left.actions if isinstance(left, TableBlock) else ()
    counted = ("packets", table.count_packets), ("bytes", table.count_bytes)
    return table_card(
        block.name,
        [(table.columns[i].name, table.columns[i].kind, i not in columns) for i in block.columns],
        [(_signature(service, name), name not in actions) for name in block.actions],
        _call(table.default),
        ", ".join(unit for unit, holds in counted if holds),
        left is None,
        rules_note(rules.get(table.name)),
    )


def _signature(service: Service, name: str) -> str:
    parameters = service.action(name).parameters
    return f"{name}({', '.join(parameter.name for parameter in parameters)})" if parameters else name


def _call(call: CallAction) -> str:
    arguments = ", ".join(_shortened(argument.span.text) for argument in call.arguments)
    return f"{call.action}({arguments})" if arguments else call.action


def _source_lines(spans: Iterable[Span], pruned: bool, prefix: str = "") -> tuple[CardLine, ...]:
    """Statements or a condition as written, each behind `prefix`, without comments, shortened to what a card has room for."""
    lines: list[str] = []
    for span in spans:
        first, *rest = (line.split("#", 1)[0].rstrip() for line in span.text.expandtabs(4).split("\n"))
        # The first line begins in the middle of one of the file; the others carry the file's indentation.
        lines += [prefix + first, *dedent("\n".join(rest)).split("\n")]
    lines = [_narrowed(line) for line in lines if line.strip()]
    lines = [part for line in lines for part in _broken(line)]
    shown = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"]
    return tuple(CardLine(line, pruned) for line in shown)


def _narrowed(line: str) -> str:
    """Two blanks a level where the source has four: a card is narrow."""
    return " " * ((len(line) - len(line.lstrip())) // 2) + line.strip()


def _broken(line: str) -> list[str]:
    """A line in as many as a card needs for it, those after the first further to the right."""
    indent = " " * (len(line) - len(line.lstrip()))
    # A blank that does not break holds `{ drop }` together.
    whole = re.sub(r"\{ (\w+) \}", "{\u00a0\\1\u00a0}", line.strip())
    parts = wrap(whole, LONGEST_LINE, initial_indent=indent, subsequent_indent=f"{indent}    ")
    return [part.replace("\u00a0", " ") for part in parts]


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
