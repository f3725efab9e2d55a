"""The shape of a rule set: what the code depends on. Rules of one shape are data for the same compiled blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pcnc.rules import Rule, TableSchema


@dataclass(frozen=True, slots=True)
class TableShape:
    """Indexes of the columns that some rule asks about, and the actions that some rule names; both empty without rules."""

    columns: tuple[int, ...]
    actions: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the table has no rule at all."""
        return not self.actions

    def covers(self, other: TableShape) -> bool:
        """Whether code for this shape runs rules of the other one right, if not as fast."""
        return set(other.columns) <= set(self.columns) and set(other.actions) <= set(self.actions)


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of every table of a service, by name, sorted."""

    tables: tuple[tuple[str, TableShape], ...]

    def table(self, name: str) -> TableShape:
        """The shape of one table; KeyError if there is none."""
        for candidate, shape in self.tables:
            if candidate == name:
                return shape
        raise KeyError(name)

    def covers(self, other: Shape) -> bool:
        """Whether code for this shape runs rules of the other one right."""
        return all(self.table(name).covers(shape) for name, shape in other.tables)

    @property
    def key(self) -> str:
        """The shape in a line: `destinations:; sources:0:drop`. Equal shapes have equal keys."""
        parts = (f"{name}:{','.join(map(str, shape.columns))}:{','.join(shape.actions)}" for name, shape in self.tables)
        return "; ".join(parts)


def shape_of_table(rules: Iterable[Rule], schema: TableSchema) -> TableShape:
    """The shape of one table's rules; columns and actions in the order of the table's declaration."""
    columns: set[int] = set()
    actions: set[str] = set()
    every = range(len(schema.columns))
    for rule in rules:
        actions.add(rule.action)
        if len(columns) < len(schema.columns):
            columns.update(index for index in every if rule.matches[index] is not None)
    return TableShape(tuple(sorted(columns)), tuple(action.name for action in schema.actions if action.name in actions))


def shape_of(schemas: Iterable[TableSchema], rules: Mapping[str, Iterable[Rule]]) -> Shape:
    """The shape of all tables; a table that `rules` does not name has none."""
    shapes = ((schema.name, shape_of_table(rules.get(schema.name, ()), schema)) for schema in schemas)
    return Shape(tuple(sorted(shapes, key=lambda pair: pair[0])))


def widest_shape(schemas: Iterable[TableSchema]) -> Shape:
    """The shape that covers every rule set: all columns, all actions."""
    shapes = (
        (schema.name, TableShape(tuple(range(len(schema.columns))), tuple(action.name for action in schema.actions)))
        for schema in schemas
    )
    return Shape(tuple(sorted(shapes, key=lambda pair: pair[0])))
