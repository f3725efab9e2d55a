"""The reference interpreter: what a program does to a packet. This module and those it uses *are* the meaning of PCN.

    pcnc.parse_packet   which headers a frame holds
    pcnc.evaluate       what an expression is worth
    pcnc.lookup         which rule a packet hits
    pcnc.checksums      what an assignment does to checksums

It is written for reading and needs nothing but Python. A compiled program is right when it gives the same verdict, bytes,
reason and counters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

from pcnc.checksums import assign
from pcnc.evaluate import Surroundings, evaluate
from pcnc.expression import Expression
from pcnc.lookup import DEFAULT, lookup
from pcnc.parse_packet import Packet, parse_packet
from pcnc.program import (
    ApplyTable,
    AssignField,
    AssignMeta,
    Branch,
    CallAction,
    If,
    Let,
    Program,
    RunStage,
    Service,
    Statement,
    Step,
    Table,
    Verdict,
)
from pcnc.program_words import ChainName, VerdictKind
from pcnc.rules import Rule, identities
from pcnc.source import Span

NEXT = "next"
"""The reason of a packet that went to the end of its chain."""
MALFORMED = "drop: malformed"
"""The reason of a frame too short for Ethernet."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A step of a trace: a table was looked up. `rule` counts from 1, 0 is the default; the action ran with these arguments."""

    table: str
    rule: int
    action: str
    arguments: tuple[int, ...]
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        called = f"{self.action}({', '.join(map(str, self.arguments))})" if self.arguments else self.action
        return f"table {self.table}: {f'rule {self.rule}' if self.rule else 'default'} -> {called}"


@dataclass(frozen=True, slots=True)
class StageRun:
    """A step of a trace: a stage was run."""

    stage: str
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"stage {self.stage}"


@dataclass(frozen=True, slots=True)
class BranchTaken:
    """A step of a trace: an `if` in a chain, a stage or an action was decided."""

    condition: bool
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"line {self.span.line}: {'then' if self.condition else 'else'}"


TraceStep = Lookup | StageRun | BranchTaken


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a frame. `frame` is it as it left, or as it was when it was dropped.

    `reason` says why: `next`; `drop: rule TABLE`, `drop: default TABLE`, `drop: stage STAGE` and the same with `pass`;
    `drop: malformed`. `steps` is the way it took, for people.
    """

    verdict: VerdictKind
    frame: bytes
    reason: str
    steps: tuple[TraceStep, ...]


@dataclass(slots=True)
class Count:
    """Packets, and the bytes of their frames, as they entered a table."""

    packets: int = 0
    bytes: int = 0


class Interpreter:
    """One running service: its rules, its settings and its counters. `run` sends one packet through it."""

    def __init__(
        self,
        program: Program,
        service: Service,
        rules: Mapping[str, Sequence[Rule]],
        configs: Mapping[str, int] | None = None,
    ) -> None:
        """Starts a service with these rules by table (a table not named has none) and these settings (or their declared values).

        Raises ValueError for a table, an action or a setting that the service does not have.
        """
        self.program = program
        self.service = service
        self.counters: dict[tuple[str, int], Count] = {}
        """By table and rule, from 1; 0 is the default. Every table counts here, whatever its `count` says."""
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._configs: dict[str, int] = {config.name: config.value for config in service.configs}
        for table in service.tables:
            self.set_rules(table.name, rules.get(table.name, ()))
        for name in rules:
            self._table(name)
        for name, value in (configs or {}).items():
            self.set_config(name, value)

    def set_rules(self, table: str, rules: Sequence[Rule]) -> None:
        """Replaces a table's rules. A rule with the same match as one before keeps its counts, and so does the default."""
        declared = self._table(table)
        for rule in rules:
            if rule.action not in declared.actions:
                raise ValueError(f"table {table} has no action {rule.action}")
        before = self._rules.get(table, ())
        kept = {identity: self.counters.pop((table, number)) for number, identity in enumerate(identities(before), start=1)}
        self._rules[table] = tuple(rules)
        self.counters.setdefault((table, DEFAULT), Count())
        for number, identity in enumerate(identities(rules), start=1):
            self.counters[table, number] = kept.pop(identity, Count())

    def set_config(self, name: str, value: int) -> None:
        """Changes a setting."""
        if name not in self._configs:
            raise ValueError(f"service {self.service.name} has no setting {name}")
        self._configs[name] = value

    def run(self, chain: ChainName, frame: bytes) -> Outcome:
        """Sends a frame through a chain. A direction for which the service has no chain lets every frame go on."""
        for declared in self.service.chains:
            if declared.name == chain:
                return _Traversal(self, parse_packet(self.program.headers, frame)).take(declared.steps)
        return Outcome("next", bytes(frame), NEXT, ())

    def _table(self, name: str) -> Table:
        try:
            return self.service.table(name)
        except KeyError:
            raise ValueError(f"service {self.service.name} has no table {name}") from None

    def _count(self, table: str, rule: int, length: int) -> None:
        count = self.counters[table, rule]
        count.packets += 1
        count.bytes += length


class _Traversal:
    """One packet on its way through one chain: its bytes, and the state that lives as long as it is on the way."""

    def __init__(self, running: Interpreter, packet: Packet) -> None:
        self.running = running
        self.service = running.service
        self.packet = packet
        self.metas: dict[str, int] = {meta.name: 0 for meta in running.service.metas}
        self.trace: list[TraceStep] = []

    def take(self, steps: tuple[Step, ...]) -> Outcome:
        """The whole way: a frame without `eth` is dropped; at the end of the chain the packet goes on."""
        if not self.packet.path:
            return Outcome("drop", bytes(self.packet.frame), MALFORMED, ())
        verdict, reason = self._steps(steps) or ("next", NEXT)
        return Outcome(verdict, bytes(self.packet.frame), reason, tuple(self.trace))

    def _steps(self, steps: tuple[Step, ...]) -> tuple[Literal["drop", "pass"], str] | None:
        """Takes steps one after another up to the first that ends the packet's way; None where all were taken."""
        for step in steps:
            match step:
                case Branch(condition, then, otherwise):
                    ended = self._steps(then if self._decide(condition, {}, step.span) else otherwise)
                    if ended is not None:
                        return ended
                    continue
                case RunStage(name):
                    self.trace.append(StageRun(name, step.span))
                    verdict = self._body(self.service.stage(name).body, {})
                    where = f"stage {name}"
                case ApplyTable(name):
                    rule, verdict = self._apply(self.service.table(name), step.span)
                    where = f"rule {name}" if rule != DEFAULT else f"default {name}"
                case _:
                    assert_never(step)
            # `next`, and the end of a body, go on with the step behind.
            if verdict == "drop" or verdict == "pass":
                return verdict, f"{verdict}: {where}"
        return None

    def _apply(self, table: Table, span: Span) -> tuple[int, VerdictKind | None]:
        """Looks the packet up, counts it as it is now, and runs the action of the rule hit, or the default."""
        values: list[int | None] = []
        for column in table.columns:
            there = not column.headers or any(self.packet.present(header) for header in column.headers)
            values.append(self._evaluate(column.value, {}) if there else None)
        rules = self.running._rules[table.name]
        number = lookup(table, rules, values)
        self.running._count(table.name, number, self.packet.length)
        if number == DEFAULT:
            name = table.default.action
            arguments = tuple(self._evaluate(argument, {}) for argument in table.default.arguments)
        else:
            name, arguments = rules[number - 1].action, rules[number - 1].arguments
        self.trace.append(Lookup(table.name, number, name, arguments, span))
        return number, self._act(name, arguments)

    def _act(self, name: str, arguments: tuple[int, ...]) -> VerdictKind | None:
        """Runs an action's body with its parameters bound to these values."""
        action = self.service.action(name)
        names = [parameter.name for parameter in action.parameters]
        return self._body(action.body, dict(zip(names, arguments, strict=True)))

    def _body(self, statements: tuple[Statement, ...], locals: dict[str, int]) -> VerdictKind | None:
        """Runs statements up to a verdict, which ends the stage or table however deep it stands; None: the end was reached."""
        for statement in statements:
            verdict: VerdictKind | None = None
            match statement:
                case Let(name, value):
                    locals[name] = self._evaluate(value, locals)
                case AssignField(target, value):
                    assign(self.packet, target, self._evaluate(value, locals))
                case AssignMeta(name, value):
                    self.metas[name] = self._evaluate(value, locals)
                case If(condition, then, otherwise):
                    verdict = self._body(then if self._decide(condition, locals, statement.span) else otherwise, locals)
                case Verdict(kind):
                    verdict = kind
                case CallAction(name, arguments):
                    verdict = self._act(name, tuple(self._evaluate(argument, locals) for argument in arguments))
                case _:
                    assert_never(statement)
            if verdict is not None:
                return verdict
        return None

    def _decide(self, condition: Expression, locals: Mapping[str, int], span: Span) -> bool:
        decided = bool(self._evaluate(condition, locals))
        self.trace.append(BranchTaken(decided, span))
        return decided

    def _evaluate(self, expression: Expression, locals: Mapping[str, int]) -> int:
        return evaluate(expression, Surroundings(self.packet, self.metas, self.running._configs, locals))
