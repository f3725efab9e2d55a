"""Follows which headers can be present through chains, tables, stages and actions, and finds reads that may fail.

The analysis is exact for presence: it goes world by world (see `worlds`), and only that conditions over values may go either
way is not known. An action is followed anew for each set of worlds in which it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import assert_never

from pcnc import problems
from pcnc.diagnostics import Diagnostics, Note
from pcnc.expression import Constant, Expression, FieldRead, HeaderPresent, Logic, Not
from pcnc.expression_walk import operands
from pcnc.presence.worlds import Worlds
from pcnc.program import (
    Action,
    ApplyTable,
    AssignField,
    AssignMeta,
    Branch,
    CallAction,
    Chain,
    If,
    Let,
    RunStage,
    Stage,
    Statement,
    Step,
    Table,
    Verdict,
)
from pcnc.resolve.pseudo_types import is_poison
from pcnc.source import Span

MOST_GROUPS = 8
"""Of more kinds of starable columns in one table than this, all must be given: what each proves is not told apart."""

Needs = dict[tuple[str, str], frozenset[tuple[str, ...]]]
"""By table and action: of each tuple of columns, a rule must ask something of at least one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The worlds in which statements are left: at their end, or by `next`; and those in which a read in them fails."""

    falls: int
    leaves: int
    bad: int


@dataclass(slots=True)
class Presence:
    """The analysis of one service. Its actions must not call one another in a circle."""

    worlds: Worlds
    tables: Mapping[str, Table]
    actions: Mapping[str, Action]
    stages: Mapping[str, Stage]
    found: Diagnostics
    needs: Needs = field(default_factory=dict)
    _told: set[tuple[str, int, str]] = field(default_factory=set)
    _told_of: set[tuple[str, int]] = field(default_factory=set)
    _known: dict[tuple[str, int], Outcome] = field(default_factory=dict)

    def follow(self, chain: Chain) -> None:
        """Follows a chain from its beginning, where nothing is known of the packet."""
        self._steps(chain.steps, self.worlds.all)

    # ---- steps

    def _steps(self, steps: tuple[Step, ...], worlds: int) -> int:
        for step in steps:
            if not worlds:
                break
            match step:
                case ApplyTable(table):
                    worlds = self._table(self.tables[table], worlds) if table in self.tables else worlds
                case RunStage(stage):
                    outcome = _Walk(self, told=()).body(self.stages[stage].body, worlds)
                    worlds = outcome.falls | outcome.leaves
                case Branch(condition, then, otherwise):
                    yes, no = _Walk(self, told=()).condition(condition, worlds)
                    worlds = self._steps(then, yes) | self._steps(otherwise, no)
                case _:
                    assert_never(step)
        return worlds

    def _table(self, table: Table, worlds: int) -> int:
        proved = worlds
        groups: dict[tuple[str, ...], list[str]] = {}
        for column in table.columns:
            if not column.headers or column.kind == "ternary":
                continue
            if column.kind == "exact" and not table.ordered:
                proved &= self.worlds.holding_any(column.headers)
            else:
                groups.setdefault(column.headers, []).append(column.name)
        holding = {headers: self.worlds.holding_any(headers) for headers in groups}
        behind = 0
        for name in table.actions:
            if name not in self.actions:
                continue
            note = (Note(f"table `{table.name}` runs `{name}`", table.span),)
            full = proved
            for mask in holding.values():
                full &= mask
            reached = self._action(name, full, note)
            entry = full if reached.bad else self._entry(table.name, name, proved, groups, holding)
            outcome = self._action(name, entry, None)
            behind |= outcome.falls | outcome.leaves
        default = table.default.action
        if default in self.actions:
            outcome = self._action(default, worlds, (Note(f"`{default}` is the default of table `{table.name}`", table.span),))
            behind |= outcome.falls | outcome.leaves
        return behind

    def _entry(
        self,
        table: str,
        action: str,
        proved: int,
        groups: Mapping[tuple[str, ...], list[str]],
        holding: Mapping[tuple[str, ...], int],
    ) -> int:
        """Notes what rules with this action need, and gives the worlds in which they can run it."""
        bad = self._action(action, proved, None).bad
        needed: set[frozenset[tuple[str, ...]]] = set()
        if bad and len(groups) > MOST_GROUPS:
            needed = {frozenset([group]) for group in groups}
        elif bad:
            needed = _clauses(proved & bad, holding)
        entry = proved
        clauses: set[tuple[str, ...]] = set()
        for clause in needed:
            entry &= self.worlds.holding_any(header for group in clause for header in group)
            clauses.add(tuple(column for group, columns in groups.items() if group in clause for column in columns))
        key = (table, action)
        self.needs[key] = self.needs.get(key, frozenset()) | clauses
        return entry

    def _action(self, name: str, worlds: int, told: tuple[Note, ...] | None) -> Outcome:
        """What an action does in these worlds; with notes (how it is reached), what fails is told."""
        key = (name, worlds)
        if key not in self._known or (told is not None and key not in self._told_of):
            self._known[key] = _Walk(self, told).body(self.actions[name].body, worlds)
            if told is not None:
                self._told_of.add(key)
        return self._known[key]

    def tell(self, header: str, what: str, span: Span, never: bool, notes: tuple[Note, ...]) -> None:
        """Reports a failing read, once for each place."""
        key = (span.source.path, span.start, header)
        if key not in self._told:
            self._told.add(key)
            tell = problems.header_never_present if never else problems.header_may_be_absent
            self.found.add(tell(header, what, span, notes))


def _clauses(failing: int, holding: Mapping[tuple[str, ...], int]) -> set[frozenset[tuple[str, ...]]]:
    """Sets of groups of which a rule must ask something, so that none of the failing worlds is left.

    A set of groups that leaves a failing world is not enough: one group outside it must be asked, too. The largest such sets
    say all, as they imply the smaller ones.
    """
    groups = tuple(holding)
    clauses: list[frozenset[tuple[str, ...]]] = []
    for missing in range(1, len(groups) + 1):
        for outside in combinations(groups, missing):
            left = failing
            for group in groups:
                if group not in outside:
                    left &= holding[group]
            clause = frozenset(outside)
            if left and not any(smaller <= clause for smaller in clauses):
                clauses.append(clause)
    return set(clauses)


@dataclass(slots=True)
class _Walk:
    """One walk over statements. `told` is how they are reached, or None where what fails is only counted."""

    presence: Presence
    told: tuple[Note, ...] | None
    bad: int = 0

    def body(self, statements: tuple[Statement, ...], worlds: int) -> Outcome:
        """Follows statements from their beginning."""
        falls, leaves = self._statements(statements, worlds)
        return Outcome(falls, leaves, self.bad)

    def _statements(self, statements: tuple[Statement, ...], worlds: int) -> tuple[int, int]:
        leaves = 0
        for statement in statements:
            if not worlds:
                break
            worlds, left = self._statement(statement, worlds)
            leaves |= left
        return worlds, leaves

    def _statement(self, statement: Statement, worlds: int) -> tuple[int, int]:
        match statement:
            case Let(_, value) | AssignMeta(_, value):
                return self.value(value, worlds), 0
            case AssignField(target, value, span):
                worlds = self.value(value, worlds)
                return self._needs(target.header, "this writes a field of", span, worlds), 0
            case If(condition, then, otherwise):
                yes, no = self.condition(condition, worlds)
                first, second = self._statements(then, yes), self._statements(otherwise, no)
                return first[0] | second[0], first[1] | second[1]
            case Verdict(kind):
                return 0, worlds if kind == "next" else 0
            case CallAction(action, arguments, span):
                for argument in arguments:
                    worlds = self.value(argument, worlds)
                told = None if self.told is None else (*self.told, Note(f"`{action}` is called here", span))
                outcome = self.presence._action(action, worlds, told)
                self.bad |= outcome.bad
                return outcome.falls, outcome.leaves
            case _:
                assert_never(statement)

    def condition(self, expression: Expression, worlds: int) -> tuple[int, int]:
        """The worlds in which a condition can be true, and those in which it can be false."""
        if is_poison(expression):
            # What it would have proved is not known: nothing more is told of what hangs on it.
            return 0, 0
        match expression:
            case Constant(value):
                return (worlds, 0) if value else (0, worlds)
            case HeaderPresent(headers):
                mask = self.presence.worlds.holding_any(headers)
                return worlds & mask, worlds & ~mask
            case Not(operand):
                yes, no = self.condition(operand, worlds)
                return no, yes
            case Logic("and", left, right):
                yes, no = self.condition(left, worlds)
                both, not_right = self.condition(right, yes)
                return both, no | not_right
            case Logic(_, left, right):
                yes, no = self.condition(left, worlds)
                right_only, neither = self.condition(right, no)
                return yes | right_only, neither
            case _:
                either_way = self.value(expression, worlds)
                return either_way, either_way

    def value(self, expression: Expression, worlds: int) -> int:
        """The worlds in which a value can be had; where a read fails it is told, and taken as asked for from then on."""
        match expression:
            case FieldRead(read, _, span):
                return self._needs(read.header, "this reads a field of", span, worlds)
            case Logic():
                yes, no = self.condition(expression, worlds)
                return yes | no
            case _:
                for operand in operands(expression):
                    worlds = self.value(operand, worlds)
                return worlds

    def _needs(self, header: str, what: str, span: Span, worlds: int) -> int:
        mask = self.presence.worlds.holding(header)
        missing = worlds & ~mask
        if not missing:
            return worlds
        self.bad |= missing
        if self.told is not None:
            self.presence.tell(header, what, span, missing == worlds, self.told)
        return worlds & mask
