"""What can be told from how statements follow and call one another: circles, what is never reached, what is never used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

FALLS, NEXT, ENDS = 1, 2, 4
"""How statements can be left, as a set of bits: at their end, by `next`, by `drop` or `pass`."""


def report_recursion(actions: Mapping[str, Action], found: Diagnostics) -> bool:
    """Whether actions call one another in a circle; each circle is told once."""
    done: set[str] = set()
    circles = False

    def visit(name: str, way: list[tuple[str, Span]]) -> None:
        nonlocal circles
        for call in _calls(actions[name].body):
            here = [*way, (name, call.span)]
            names = [caller for caller, _ in here]
            if call.action in names:
                start = names.index(call.action)
                found.add(problems.recursion(names[start:], [span for _, span in here[start:]]))
                circles = True
            elif call.action in actions and call.action not in done:
                visit(call.action, here)
        done.add(name)

    for name in actions:
        if name not in done:
            visit(name, [])
    return circles


def _calls(statements: Iterable[Statement]) -> Iterable[CallAction]:
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
        if name not in self.actions:
            return FALLS
        if name not in self._of_actions:
            self._of_actions[name] = self.ways_out(self.actions[name].body)
        return self._of_actions[name]

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
