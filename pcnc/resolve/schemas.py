"""Tables as rules see them: which names may stand for a value, what each action takes, and what it needs of a rule."""

from __future__ import annotations

from collections.abc import Mapping

from pcnc.expression import Constant, FieldRead
from pcnc.presence.analysis import Needs
from pcnc.program import Action, Column, Table
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.pseudo_types import NUMBER, UNKNOWN, is_number
from pcnc.resolve.scope import ConstName, Scope
from pcnc.rules import ActionSchema, ColumnSchema, TableSchema
from pcnc.types import Type


def schema_of(table: Table, scope: Scope, fields: FieldTable, actions: Mapping[str, Action], needs: Needs) -> TableSchema:
    """The schema of a table. Names: enum members first, then headers, then constants of the file."""
    constants = {
        name: entity.value
        for name, entity in reversed(list(scope.all()))
        if isinstance(entity, ConstName) and entity.value.type is not UNKNOWN and entity.value.value >= 0
    }
    return TableSchema(
        table.name,
        tuple(_column(column, constants, fields) for column in table.columns),
        tuple(
            ActionSchema(name, actions[name].parameters, tuple(sorted(needs.get((table.name, name), ()))))
            for name in table.actions
            if name in actions
        ),
        table.ordered,
        table.size,
        tuple((name, value.value) for name, value in constants.items()),
    )


def _column(column: Column, constants: Mapping[str, Constant], fields: FieldTable) -> ColumnSchema:
    headers = fields.constants.get(column.value.field, {}) if isinstance(column.value, FieldRead) else {}
    of_type = {name: value.value for name, value in constants.items() if _may_stand_for(value, column.type)}
    names = {**of_type, **headers, **dict(column.type.members)}
    return ColumnSchema(column.name, column.kind, column.type, tuple(names.items()))


def _may_stand_for(value: Constant, type: Type) -> bool:
    if value.value > type.maximum:
        return False
    if value.type is NUMBER or value.type.format == "decimal":
        return is_number(type)
    return value.type == type
