"""Tables: their columns, kinds of match, actions and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import Constant, FieldRead, MetaRead
from pcnc.parse_graph import Headers
from pcnc.program import CallAction, Column, Table
from pcnc.resolve.bodies import call_arguments
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.pseudo_types import is_poison
from pcnc.resolve.scope import LATER, ActionName, Scope
from pcnc.rules import MatchKind
from pcnc.source import Span
from pcnc.types import Type

DEFAULT_SIZE = 1024
MOST_RULES = 1 << 24
MOST_COLUMNS, MOST_BITS = 24, 1536
KINDS: tuple[MatchKind, ...] = get_args(MatchKind)
_ORDERED_KINDS = ("prefix", "range", "ternary")


@dataclass(frozen=True, slots=True)
class Tables:
    """Resolves the tables of one service."""

    headers: Headers
    table: FieldTable
    scope: Scope
    found: Diagnostics

    def resolve(self, written: syntax.TableDeclaration) -> Table:
        """The table, without rules; what has a problem is left out of it."""
        if written.order is not None and written.order.text != "first":
            self.found.add(problems.unsupported_order(written.order.text, written.order.span))
        units = self._units(written)
        return Table(
            written.name.text,
            self._columns(written),
            self._actions(written),
            self._default(written),
            ordered=written.order is not None,
            size=self._size(written),
            count_packets="packets" in units,
            count_bytes="bytes" in units,
            rules=(),
            span=written.name.span,
        )

    # ---- match

    def _columns(self, written: syntax.TableDeclaration) -> tuple[Column, ...]:
        if not written.columns:
            self.found.add(problems.missing_match(written.name.text, written.name.span))
        made: list[Column] = []
        lpm: Span | None = None
        for column in written.columns:
            value = self._column_value(column)
            kind = self._kind(written, column, value.type if value else None)
            if kind == "lpm" and lpm is not None and written.order is None:
                self.found.add(problems.two_lpm_columns(written.name.text, column.span, lpm))
            elif kind == "lpm":
                lpm = column.span
            if value is None or kind is None:
                continue
            name = str(value.field) if isinstance(value, FieldRead) else value.name
            if any(name == other.name for other in made):
                self.found.add(problems.given_twice(name, column.value.span))
                continue
            headers = self.headers.members(value.field.header) if isinstance(value, FieldRead) else ()
            made.append(Column(name, kind, value, headers))
        bits = sum(column.type.bits for column in made)
        if len(made) > MOST_COLUMNS or bits > MOST_BITS:
            most, declared = (MOST_COLUMNS, MOST_BITS), written.name
            self.found.add(problems.table_too_wide(declared.text, len(made), bits, most, declared.span))
        return tuple(made)

    def _column_value(self, column: syntax.Column) -> FieldRead | MetaRead | None:
        value = Expressions(self.table, self.found).infer(column.value, self.scope, None)
        if isinstance(value, FieldRead | MetaRead):
            return value
        if not is_poison(value):
            self.found.add(problems.column_not_a_field(column.value.span.text, column.value.span))
        return None

    def _kind(self, written: syntax.TableDeclaration, column: syntax.Column, type: Type | None) -> MatchKind | None:
        text, span, table = column.kind.text, column.kind.span, written.name.text
        kind = next((kind for kind in KINDS if kind == text), None)
        if kind is None:
            self.found.add(problems.unknown_match_kind(text, span, KINDS))
        elif kind in _ORDERED_KINDS and written.order is None:
            self.found.add(problems.kind_needs_order(kind, table, span))
        elif kind == "lpm" and written.order is not None:
            self.found.add(problems.lpm_with_order(table, span))
        if kind in ("lpm", "prefix") and type is not None and type.format not in ("ipv4", "ipv6"):
            self.found.add(problems.prefix_on_non_address(text, column.value.span.text, str(type), column.span))
        return kind

    # ---- action, default

    def _actions(self, written: syntax.TableDeclaration) -> tuple[str, ...]:
        if not written.actions:
            self.found.add(problems.missing_action(written.name.text, written.name.span))
        made: list[str] = []
        for action in written.actions:
            if action.text in made:
                self.found.add(problems.given_twice(action.text, action.span))
            elif self._is_action(action.text, action.span):
                made.append(action.text)
        return tuple(made)

    def _is_action(self, name: str, span: Span) -> bool:
        entity = self.scope.find(name)
        if isinstance(entity, ActionName):
            return True
        if entity is None and name in LATER:
            self.found.add(problems.not_in_this_version(f"`{name}`", span))
        else:
            self.found.add(problems.unknown_action(name, span, self.scope.of_kind(ActionName)))
        return False

    def _default(self, written: syntax.TableDeclaration) -> CallAction:
        nothing = CallAction("next", (), written.name.span)
        expression = written.default
        if expression is None:
            return nothing
        callee = expression.function if isinstance(expression, syntax.Call) else expression
        arguments = expression.arguments if isinstance(expression, syntax.Call) else ()
        if not isinstance(callee, syntax.Name):
            self.found.add(problems.unknown_action(expression.span.text, expression.span, self.scope.of_kind(ActionName)))
            return nothing
        entity = self.scope.find(callee.text)
        if not isinstance(entity, ActionName):
            self._is_action(callee.text, callee.span)
            return nothing
        expressions = Expressions(self.table, self.found)
        values = call_arguments(expressions, callee.text, entity.parameters, arguments, self.scope, expression.span)
        if values is None:
            return nothing
        for argument, value in zip(arguments, values, strict=True):
            if not isinstance(value, Constant):
                self.found.add(problems.not_a_constant("an argument of a default", argument.span))
                return nothing
        return CallAction(callee.text, values, expression.span)

    # ---- size, count

    def _size(self, written: syntax.TableDeclaration) -> int:
        if written.size is None:
            return DEFAULT_SIZE
        if not 1 <= written.size.value <= MOST_RULES:
            self.found.add(problems.table_of_no_size(written.name.text, written.size.span, MOST_RULES))
            return DEFAULT_SIZE
        return written.size.value

    def _units(self, written: syntax.TableDeclaration) -> set[str]:
        units: set[str] = set()
        for unit in written.count:
            if unit.text not in ("packets", "bytes"):
                self.found.add(problems.unknown_counter(unit.text, unit.span))
            elif unit.text in units:
                self.found.add(problems.given_twice(unit.text, unit.span))
            units.add(unit.text)
        return units
