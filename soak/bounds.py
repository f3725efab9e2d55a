"""What a soak found, line by line beside what it may be, and whether that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bound:
    """One line of a verdict: what was looked at, what was found, what it may be (empty: nothing is promised), whether it holds."""

    what: str
    found: str
    allowed: str = ""
    held: bool = True


def exactly(what: str, found: int, wanted: int = 0) -> Bound:
    """A count that must be just so."""
    return Bound(what, f"{found:,}", f"{wanted:,}", found == wanted)


def at_least(what: str, found: float, wanted: float, form: str = "{:,}") -> Bound:
    """A figure that must reach another. `form` writes both."""
    return Bound(what, form.format(found), f"at least {form.format(wanted)}", found >= wanted)


def at_most(what: str, found: float, wanted: float, form: str = "{:,}") -> Bound:
    """A figure that must not pass another. `form` writes both."""
    return Bound(what, form.format(found), f"at most {form.format(wanted)}", found <= wanted)


def all_hold(bounds: Sequence[Bound]) -> bool:
    """Whether every line holds."""
    return all(bound.held for bound in bounds)


def bounds_table(title: str, bounds: Sequence[Bound], caption: str = "") -> Table:
    """The lines for people: pass or FAIL stands behind each that is bounded."""
    table = Table(title=escape(title), title_justify="left", caption=escape(caption), caption_justify="left")
    table.add_column("")
    table.add_column("found", justify="right", style="bold")
    table.add_column("may be", justify="right")
    table.add_column("")
    for bound in bounds:
        verdict = "" if not bound.allowed else "[green]pass[/]" if bound.held else "[bold red]FAIL[/]"
        table.add_row(escape(bound.what), escape(bound.found), escape(bound.allowed), verdict)
    return table
