"""`pcnc rules NAME TABLE list`: the rules of a table, with their ids, owners and counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from pcnc.cli.options import AsJson
from pcnc.cli.report import guarded, painted, print_json

if TYPE_CHECKING:
    from pcnc_runtime.facts import Count, RuleFacts, TableFacts


_WORDS = ("origin", "file", "operator", "both", "default")
"""What stands to the left in its column; everything else is a number."""


def register_list(group: typer.Typer) -> None:
    """Adds this module's command."""
    group.command("list")(list_table)


@guarded
def list_table(context: typer.Context, as_json: AsJson = False) -> None:
    """List the rules of a table in their order."""
    from pcnc_runtime.operations import read_table

    name, table = context.obj
    facts = read_table(name, table)
    if as_json:
        print_json(table_to_json(facts))
    else:
        for line in table_lines(facts):
            print(line)


def table_lines(facts: TableFacts, indent: str = "") -> Iterable[str]:
    """A table for people: a head, a row for each rule, and one for the default where it is counted."""
    schema = facts.schema
    columns = ", ".join(f"{column.name}: {column.kind}" for column in schema.columns)
    order = "ordered, " if schema.ordered else ""
    rules = f"{len(facts.rules):,} of {schema.size:,} rules"
    how = f", {facts.plan.classifier}" if facts.plan is not None else ", not looked up"
    yield f"{indent}{painted(schema.name, '1')}  {columns}  ({order}{rules}, default {facts.default}{how})"
    counted = [unit for unit, holds in (("packets", facts.counts_packets), ("bytes", facts.counts_bytes)) if holds]
    head = [*(["#"] if schema.ordered else []), "id", "origin", *counted]
    rows = [_row(rule, schema.ordered, counted) for rule in facts.rules]
    if facts.default_count is not None:
        rows.append([*([""] if schema.ordered else []), "", "default", *_counts(facts.default_count, counted)])
    if not rows:
        return
    texts = [rule.text for rule in facts.rules]
    if facts.default_count is not None:
        texts.append(facts.default)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    yield painted(f"{indent}  {_aligned(head, widths)}  rule", "2")
    for row, text in zip(rows, texts, strict=True):
        yield f"{indent}  {_aligned(row, widths)}  {text}"


def _row(rule: RuleFacts, ordered: bool, counted: Sequence[str]) -> list[str]:
    place = [str(rule.position)] if ordered else []
    return [*place, str(rule.id), rule.origin, *(_counts(rule.count, counted) if rule.count is not None else ["" for _ in counted])]


def _counts(count: Count, counted: Sequence[str]) -> list[str]:
    values = {"packets": count.packets, "bytes": count.bytes}
    return [f"{values[unit]:,}" for unit in counted]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) if cell in _WORDS else cell.rjust(width) for cell, width in zip(row, widths, strict=True))


# ---- JSON


def table_to_json(facts: TableFacts) -> dict[str, Any]:
    """A table for programs."""
    return {
        "table": facts.schema.name,
        "columns": [{"name": column.name, "kind": column.kind, "type": column.type.name} for column in facts.schema.columns],
        "ordered": facts.schema.ordered,
        "size": facts.schema.size,
        "default": facts.default,
        "default_count": _count_to_json(facts.default_count),
        "classifier": facts.plan.classifier if facts.plan is not None else None,
        "rules": [_rule_to_json(rule) for rule in facts.rules],
    }


def _rule_to_json(rule: RuleFacts) -> dict[str, Any]:
    return {
        "id": rule.id,
        "position": rule.position,
        "origin": rule.origin,
        "rule": rule.text,
        "action": rule.rule.action,
        "count": _count_to_json(rule.count),
    }


def _count_to_json(count: Count | None) -> dict[str, int] | None:
    return {"packets": count.packets, "bytes": count.bytes} if count is not None else None
