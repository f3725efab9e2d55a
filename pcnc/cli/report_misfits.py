"""How what does not fit another version is told: both shapes side by side, in colours on a terminal, and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pcnc_runtime.misfits import MOST_RULES

if TYPE_CHECKING:
    from rich.console import Console

    from pcnc_runtime.errors import RuntimeProblem
    from pcnc_runtime.misfits import Misfit, ShapeRow


def tell_misfits(problem: RuntimeProblem) -> None:
    """Tells on a terminal, on standard error, what does not fit; below the headline."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for misfit in problem.misfits:
        print_misfit(console, misfit)
    console.print(f"  [cyan]=[/cyan] [bold]help[/bold]: {problem.help}", soft_wrap=True)


def print_misfit(console: Console, misfit: Misfit) -> None:
    """Prints one table or setting: its shapes, and what of it does not fit."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(" ")
    table.add_column(f"{misfit.kind} {misfit.name}", header_style="bold")
    table.add_column("old", header_style="dim")
    table.add_column("new", header_style="dim")
    for row in misfit.shape:
        cells = [escape(text or "-") for text in (row.label, row.before, row.after)]
        if row.differs:
            table.add_row("[red]![/red]", cells[0], f"[red]{cells[1]}[/red]", f"[green]{cells[2]}[/green]")
        else:
            table.add_row("", *cells, style="dim")
    console.print(table)
    for line in misfit.lines[:MOST_RULES]:
        console.print(f"    {escape(line)}", soft_wrap=True)
    if len(misfit.lines) > MOST_RULES:
        console.print(f"    and {len(misfit.lines) - MOST_RULES:,} more: --json has them all")
    console.print()


def misfit_to_json(misfit: Misfit) -> dict[str, Any]:
    """What does not fit, for programs: the name is what `--discard` takes, and of the shapes every line stands there."""
    return {
        "kind": misfit.kind,
        "name": misfit.name,
        "reason": misfit.reason,
        "rules": [{"id": rule.id, "rule": rule.text, "reason": rule.reason} for rule in misfit.rules],
        "shape": shape_to_json(misfit.shape),
    }


def shape_to_json(shape: Sequence[ShapeRow]) -> list[dict[str, Any]]:
    """Two shapes side by side, for programs; null where a version has no such thing."""
    return [{"label": row.label, "old": row.before or None, "new": row.after or None} for row in shape]
