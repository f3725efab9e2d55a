"""What of a running version's state another version cannot hold: each piece with the reason, and both shapes side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from pcnc.manifest import ConfigPlan, TableEntry
from pcnc.rules import ActionSchema
from pcnc.show_value import show_value

MOST_RULES = 20
"""Rules of a table that a message lists; the data has them all."""


@dataclass(frozen=True, slots=True)
class ShapeRow:
    """A line of two shapes side by side; an empty text: that version has no such thing."""

    label: str
    before: str
    after: str

    @property
    def differs(self) -> bool:
        """Whether the versions say different things here."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class MisfitRule:
    """A rule of the operator that the new table cannot hold."""

    id: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """A table or a setting of which something would be lost; `name` is what `--discard` takes. A setting has no rules."""

    kind: Literal["table", "setting"]
    name: str
    reason: str
    rules: tuple[MisfitRule, ...]
    shape: tuple[ShapeRow, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """What does not fit, a line each."""
        if self.kind == "setting":
            return (f"setting `{self.name}`: {self.reason}",)
        return tuple(f"rule {rule.id} of `{self.name}` (`{rule.text}`): {rule.reason}" for rule in self.rules)


# ---- shapes


def table_shapes(old: TableEntry | None, new: TableEntry | None) -> tuple[ShapeRow, ...]:
    """The shapes of a table in two versions, columns and actions brought together by name."""
    return tuple(_rows(_table(old), _table(new)))


def setting_shapes(old: ConfigPlan | None, new: ConfigPlan | None, value: int | None) -> tuple[ShapeRow, ...]:
    """The shapes of a setting in two versions. `value` is the one that it was given, None where it was given none."""
    given = "" if value is None or old is None else show_value(value, old.type)
    rows = _rows(_setting(old), _setting(new))
    return (*rows, *([ShapeRow("value", given, "")] if given else []))


def _setting(plan: ConfigPlan | None) -> dict[str, str]:
    return {} if plan is None else {"type": str(plan.type), "default": show_value(plan.value, plan.type)}


def _table(entry: TableEntry | None) -> dict[str, str]:
    if entry is None:
        return {}
    schema = entry.schema
    counted = [word for word, counts in (("packets", entry.count_packets), ("bytes", entry.count_bytes)) if counts]
    return {
        **{f"match {column.name}": f"{column.kind}, {column.type}" for column in schema.columns},
        **{f"action {action.name}": _action(action) for action in schema.actions},
        "default": entry.default,
        "order": "first" if schema.ordered else "none",
        "size": f"{schema.size:,}",
        "count": ", ".join(counted) or "nothing",
    }


def _action(action: ActionSchema) -> str:
    parameters = ", ".join(f"{parameter.name}: {parameter.type}" for parameter in action.parameters)
    return f"{action.name}({parameters})" if parameters else action.name


def _rows(before: dict[str, str], after: dict[str, str]) -> Iterator[ShapeRow]:
    """The lines of both, those that only one has beside their neighbours."""
    labels = list(before)
    place = 0
    for label in after:
        if label in before:
            place = labels.index(label) + 1
        else:
            labels.insert(place, label)
            place += 1
    for label in labels:
        yield ShapeRow(label, before.get(label, ""), after.get(label, ""))


# ---- for people


def headline(misfits: Sequence[Misfit]) -> str:
    """`2 of the operator's rules and 1 setting do not fit the new version`."""
    rules = sum(len(misfit.rules) for misfit in misfits)
    settings = sum(misfit.kind == "setting" for misfit in misfits)
    parts = [f"{rules:,} of the operator's rules"] if rules else []
    parts += [f"{settings} setting{'s' if settings > 1 else ''}"] if settings else []
    return f"{' and '.join(parts)} {'does' if rules + settings == 1 else 'do'} not fit the new version"


def side_by_side(misfits: Sequence[Misfit]) -> Iterator[str]:
    """What does not fit, and both shapes in aligned columns; `!` stands before what differs."""
    for misfit in misfits:
        rows = [("", f"{misfit.kind} {misfit.name}", "old", "new")]
        rows += [("!" if row.differs else " ", f"  {row.label}", row.before or "-", row.after or "-") for row in misfit.shape]
        widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from (f"      {line}" for line in misfit.lines[:MOST_RULES])
        if len(misfit.lines) > MOST_RULES:
            yield f"      and {len(misfit.lines) - MOST_RULES:,} more"
