"""`pcnc history`: the generations that came into force, when, why, from which source, and what each changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.clock import at, iso
from pcnc.cli.options import AsJson, NameArgument
from pcnc.cli.report import guarded, painted, print_json

if TYPE_CHECKING:
    from pcnc_runtime.history_entry import HistoryEntry, SomeRules

USUAL = 20
"""Generations that people are shown where they ask for no number."""

_HASH = 12
"""Digits of a source's hash that people are shown."""


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="List the generations that came into force.")(history)


@guarded
def history(
    name: NameArgument,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The last N; without it the last 20, and with --json all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the generations that came into force: when, by which command, from which source, and what each changed."""
    from pcnc_runtime import operations

    entries = operations.history(name)
    if as_json:
        print_json([entry_to_json(entry) for entry in entries[-(limit or len(entries)) :]])
        return
    print(painted(name, "1"))
    shown = entries[-(limit or USUAL) :]
    if len(shown) < len(entries):
        print(f"  … {len(entries) - len(shown):,} before these: --limit N shows the last N")
    for line in history_lines(shown):
        print(f"  {line}")


def history_lines(entries: Sequence[HistoryEntry]) -> Iterable[str]:
    """For people: a head for each generation, and below it what it changed."""
    heads = [(f"generation {entry.generation}", at(entry.when), entry.what) for entry in entries]
    widths = [max((len(head[i]) for head in heads), default=0) for i in range(3)]
    for entry, head in zip(entries, heads, strict=True):
        columns = "  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True))
        source = f"{entry.source} {entry.source_hash[:_HASH]}{', changed' if entry.source_changed else ''}"
        mark = f"  ← {entry.mark}" if entry.mark else ""
        yield f"{painted(columns, '1') if entry.mark == 'live' else columns}  {source}{mark}"
        for line in _changes(entry):
            yield f"  {line}"


def _changes(entry: HistoryEntry) -> Iterable[str]:
    for table in entry.tables:
        kinds = (("added", "+", table.added), ("removed", "-", table.removed), ("changed", "~", table.changed))
        yield f"{table.table}: {', '.join(f'{some.count:,} {word}' for word, _, some in kinds if some.count)}"
        for _, sign, some in kinds:
            for rule in some.first:
                yield f"  {sign} {rule}"
            if some.count > len(some.first):
                yield f"  {sign} … {some.count - len(some.first):,} more"
    for setting in entry.settings:
        yield f"setting {setting.name}: {setting.before or '(none)'} → {setting.after or '(none)'}"
    came_and_went = [f"+{block}" for block in entry.blocks_added] + [f"-{block}" for block in entry.blocks_removed]
    blocks = f"{entry.blocks} block{'' if entry.blocks == 1 else 's'}{f' ({chr(32).join(came_and_went)})' if came_and_went else ''}"
    yield f"{blocks}, variant {entry.variant}{', compiled for it' if entry.compiled else ''}"


def entry_to_json(entry: HistoryEntry) -> dict[str, Any]:
    """A generation for programs: `since` in seconds since the epoch, `when` the same as ISO 8601."""
    return {
        "number": entry.number,
        "generation": entry.generation,
        "previous": entry.previous,
        "since": entry.when,
        "when": iso(entry.when),
        "what": entry.what,
        "mark": entry.mark,
        "tables": [
            {"table": each.table, "added": _some(each.added), "removed": _some(each.removed), "changed": _some(each.changed)}
            for each in entry.tables
        ],
        "settings": [{"name": each.name, "before": each.before, "after": each.after} for each in entry.settings],
        "blocks": entry.blocks,
        "blocks_added": list(entry.blocks_added),
        "blocks_removed": list(entry.blocks_removed),
        "variant": entry.variant,
        "exact": entry.exact,
        "compiled": entry.compiled,
        "source": entry.source,
        "source_hash": entry.source_hash,
        "source_changed": entry.source_changed,
    }


def _some(some: SomeRules) -> dict[str, Any]:
    return {"count": some.count, "first": list(some.first)}
