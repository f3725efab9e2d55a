"""What can be told from how statements follow and call one another: circles, what is never reached, what is never used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from pcnc import problems
from pcnc.diagnostics import Diagnostics
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
from pcnc.resolve.scope import VERDICTS
from pcnc.source import Span

MOST_STATEMENTS = 10_000
"""Of a stage or action with all that it calls: more would hardly pass the kernel's verifier."""
MOST_DEPTH = 128
"""Of statements inside one another, those of the actions called included."""

FALLS, NEXT, ENDS = 1, 2, 4
"""How statements can be left, as a set of bits: at their end, by `next`, by `drop` or `pass`."""


def callees_first(actions: Mapping[str, Action], found: Diagnostics) -> tuple[str, ...] | None:
    """The actions, each after those that it calls; None where they call one another in a circle. Each circle is told."""
    order: list[str] = []
    done: dict[str, bool] = {}
    circles = False
    for first in actions:
        if first in done:
            continue
        done[first] = False
        way: list[tuple[str, Span]] = []
        waiting = [(first, _calls(actions[first].body))]
        while waiting:
            name, calls = waiting[-1]
            call = next(calls, None)
            if call is None:
                waiting.pop()
                way = way[: len(waiting) - 1] if waiting else []
                done[name] = True
                order.append(name)
            elif call.action not in actions:
                continue
            elif call.action not in done:
                done[call.action] = False
                way.append((name, call.span))
                waiting.append((call.action, _calls(actions[call.action].body)))
            elif not done[call.action]:
                circles = True
                here = [*way, (name, call.span)]
                start = next(index for index, (caller, _) in enumerate(here) if caller == call.action)
                found.add(problems.recursion([caller for caller, _ in here[start:]], [span for _, span in here[start:]]))
    return None if circles else tuple(order)


def _calls(statements: Iterable[Statement]) -> Iterator[CallAction]:
    for statement in statements:
        match statement:
            case CallAction():
                yield statement
            case If(_, then, otherwise):
                yield from _calls(then)
                yield from _calls(otherwise)


@dataclass(frozen=True, slots=True)
class Flow:
    """How the statements of one service follow one another. Its actions must not call one another in a circle."""

    tables: Mapping[str, Table]
    actions: Mapping[str, Action]
    stages: Mapping[str, Stage]
    found: Diagnostics
    _of_actions: dict[str, int] = field(default_factory=dict)

    def ways_out(self, statements: Iterable[Statement]) -> int:
        """How statements can be left."""
        ways = FALLS
        for statement in statements:
            ways = (ways & ~FALLS) | self._ways_out_of(statement)
            if not ways & FALLS:
                break
        return ways

    def _ways_out_of(self, statement: Statement) -> int:
        match statement:
            case Verdict("next"):
                return NEXT
            case Verdict():
                return ENDS
            case If(_, then, otherwise):
                return self.ways_out(then) | self.ways_out(otherwise)
            case CallAction(action):
                return self._ways_out_of_action(action)
            case Let() | AssignField() | AssignMeta():
                return FALLS
            case _:
                assert_never(statement)

    def report_unreachable(self, chains: Iterable[Chain]) -> None:
        """Warns of statements and steps behind one that every packet leaves by."""
        for body in (*(action.body for action in self.actions.values()), *(stage.body for stage in self.stages.values())):
            self._unreachable_statements(body)
        for chain in chains:
            self._unreachable_steps(chain.steps)

    def _unreachable_statements(self, statements: tuple[Statement, ...]) -> None:
        for index, statement in enumerate(statements):
            if isinstance(statement, If):
                self._unreachable_statements(statement.then)
                self._unreachable_statements(statement.otherwise)
            if not self._ways_out_of(statement) & FALLS and index + 1 < len(statements):
                dead = statements[index + 1].span.to(statements[-1].span)
                self.found.add(problems.unreachable_code(dead, statement.span))
                return

    def _unreachable_steps(self, steps: tuple[Step, ...]) -> int:
        ways = FALLS
        for index, step in enumerate(steps):
            match step:
                case RunStage(stage):
                    ways = self.ways_out(self.stages[stage].body)
                case ApplyTable(table):
                    ways = self._ways_out_of_table(table)
                case Branch(_, then, otherwise):
                    ways = self._unreachable_steps(then) | self._unreachable_steps(otherwise)
                case _:
                    assert_never(step)
            if ways == ENDS:
                if index + 1 < len(steps):
                    dead = steps[index + 1].span.to(steps[-1].span)
                    self.found.add(problems.unreachable_code(dead, step.span))
                return ENDS
        return FALLS

    def _ways_out_of_table(self, name: str) -> int:
        table = self.tables.get(name)
        if table is None:
            return FALLS
        ways = 0
        for action in (*table.actions, table.default.action):
            ways |= self._ways_out_of_action(action)
        return ways

    def _ways_out_of_action(self, name: str) -> int:
        return self._of_actions.get(name, FALLS)

    def measure(self, callees_first: Iterable[str]) -> bool:
        """Whether everything is of a size that can be compiled; else says so. To be called before all else that follows calls."""
        measures: dict[str, tuple[int, int]] = {}

        def measure(statements: Iterable[Statement]) -> tuple[int, int]:
            size = depth = 0
            for statement in statements:
                inner = (0, 0)
                match statement:
                    case If(_, then, otherwise):
                        first, second = measure(then), measure(otherwise)
                        inner = first[0] + second[0], max(first[1], second[1])
                    case CallAction(action) if action in measures:
                        inner = measures[action]
                size += 1 + inner[0]
                depth = max(depth, 1 + inner[1])
            return size, depth

        def is_fine(kind: str, name: str, size: int, depth: int, span: Span) -> bool:
            if size > MOST_STATEMENTS:
                self.found.add(problems.too_many_statements(kind, name, size, MOST_STATEMENTS, span))
            elif depth > MOST_DEPTH:
                self.found.add(problems.calls_too_deep(kind, name, depth, MOST_DEPTH, span))
            else:
                return True
            return False

        fine = True
        for name in callees_first:
            action = self.actions[name]
            measures[name] = measure(action.body)
            if not is_fine("action", name, *measures[name], action.span):
                # Its callers are not told by what it is alone.
                measures[name] = 0, 0
                fine = False
            self._of_actions[name] = self.ways_out(action.body)
        for stage in self.stages.values():
            fine &= is_fine("stage", stage.name, *measure(stage.body), stage.span)
        return fine

    def report_next(self, between: Iterable[str]) -> None:
        """Says so where statements of a chain, outside any stage, run `next`: there is nothing that it would leave."""
        for name in between:
            self._report_next(self.stages[name].body)

    def _report_next(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            match statement:
                case Verdict("next", span):
                    self.found.add(problems.next_in_chain("next", span))
                case CallAction(action, _, span) if self._ways_out_of(statement) & NEXT:
                    self.found.add(problems.next_in_chain(action, span))
                case If(_, then, otherwise):
                    self._report_next(then)
                    self._report_next(otherwise)

    def report_unused(self, chains: Iterable[Chain], declared_stages: Iterable[str]) -> None:
        """Warns of tables and stages that stand in no chain, and of actions that nothing can run."""
        steps = [step for chain in chains for step in _all_steps(chain.steps)]
        applied = {step.table for step in steps if isinstance(step, ApplyTable)}
        run = {step.stage for step in steps if isinstance(step, RunStage)}
        called = {call.action for body in (self.stages[name].body for name in run) for call in _calls(body)}
        for name in applied & self.tables.keys():
            called.update((*self.tables[name].actions, self.tables[name].default.action))
        waiting = list(called)
        while waiting:
            action = self.actions.get(waiting.pop())
            further = {call.action for call in _calls(action.body)} - called if action else set()
            called |= further
            waiting.extend(further)
        for table in self.tables.values():
            if table.name not in applied:
                self.found.add(problems.unused("table", table.name, table.span, "it stands in no chain"))
        for name in declared_stages:
            if name not in run and name in self.stages:
                self.found.add(problems.unused("stage", name, self.stages[name].span, "it stands in no chain"))
        for action in self.actions.values():
            if action.name not in called and action.name not in VERDICTS:
                help = "no table that stands in a chain has it, and no statement calls it"
                self.found.add(problems.unused("action", action.name, action.span, help))


def _all_steps(steps: tuple[Step, ...]) -> Iterable[Step]:
    for step in steps:
        yield step
        if isinstance(step, Branch):
            yield from _all_steps(step.then)
            yield from _all_steps(step.otherwise)
