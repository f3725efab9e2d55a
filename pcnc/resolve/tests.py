"""`test` blocks: rules, settings, packets and expectations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import ConfigRead, CounterRead, Expression, MetaRead
from pcnc.expression_walk import walk
from pcnc.headers import ResolvedHeaders
from pcnc.program import Chain, Table
from pcnc.program_tests import Test, TestConfig, TestExpect, TestExpectState, TestRules, TestSend
from pcnc.resolve.bodies import verdict_kind
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.packets import Packets
from pcnc.resolve.pseudo_types import is_poison, poison
from pcnc.resolve.scope import LATER, VERDICTS, ConfigName, Scope, TableName
from pcnc.rule_check import check_rules
from pcnc.rule_reader import read_rules
from pcnc.rules import Rule, TableSchema
from pcnc.source import Span
from pcnc.types import Type, unsigned

Item = TestRules | TestConfig | TestSend | TestExpect | TestExpectState


@dataclass(frozen=True, slots=True)
class Tests:
    """Resolves the tests of one service."""

    headers: ResolvedHeaders
    scope: Scope
    schemas: tuple[TableSchema, ...]
    tables: Mapping[str, Table]
    chains: tuple[Chain, ...]
    configs: Mapping[str, Type]
    found: Diagnostics

    def resolve_all(self, written: Iterable[syntax.TestDeclaration]) -> tuple[Test, ...]:
        """The tests, in order; names must differ."""
        made: list[Test] = []
        names: dict[str, Span] = {}
        for test in written:
            if test.name.value in names:
                self.found.add(problems.duplicate_name(test.name.value, test.name.span, names[test.name.value]))
            names.setdefault(test.name.value, test.name.span)
            resolver = _OneTest(self)
            items = (resolver.item(item) for item in test.items)
            made.append(Test(test.name.value, tuple(item for item in items if item is not None), test.span))
        return tuple(made)


@dataclass(slots=True)
class _OneTest:
    around: Tests
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    has_sent: bool = False

    @property
    def found(self) -> Diagnostics:
        return self.around.found

    def item(self, written: syntax.RulesDeclaration | syntax.Assign | syntax.Send | syntax.Expect) -> Item | None:
        match written:
            case syntax.RulesDeclaration():
                return self._rules(written)
            case syntax.Assign():
                return self._setting(written)
            case syntax.Send():
                return self._send(written)
            case syntax.Expect():
                return self._expect(written)

    def _rules(self, written: syntax.RulesDeclaration) -> Item | None:
        name = written.table.text
        schema = next((schema for schema in self.around.schemas if schema.name == name), None)
        if schema is None:
            self.found.add(problems.unknown_table(name, written.table.span, self.around.tables))
            return None
        rules, bad = read_rules(written.body.source, schema, start=written.body.start, end=written.body.end)
        together = self.rules.setdefault(name, [])
        together.extend(rules)
        for problem in (*bad, *check_rules(together, schema)):
            self.found.add(problem)
        return TestRules(name, tuple(rules))

    def _setting(self, written: syntax.Assign) -> Item | None:
        target = written.target
        if not isinstance(target, syntax.Name) or not isinstance(self.around.scope.find(target.text), ConfigName):
            what = f"`{target.span.text}`"
            why = "a test sets settings, as `config` declares them"
            self.found.add(problems.not_assignable(what, why, target.span))
            return None
        if written.operator:
            why = f"a test sets settings by `=`, not `{written.operator}=`"
            self.found.add(problems.not_assignable(f"`{target.text}`", why, target.span))
            return None
        type = self.around.configs.get(target.text)
        if type is None:
            return None
        expressions = Expressions(self.around.headers.table, self.found)
        value = expressions.constant(written.value, self.around.scope, type, "a setting")
        return TestConfig(target.text, value.value) if value is not None else None

    def _send(self, written: syntax.Send) -> Item | None:
        self.has_sent = True
        chain = next((chain for chain in self.around.chains if chain.name == written.chain.text), None)
        packet = Packets(self.around.headers, self.around.scope, self.found).resolve(written.layers)
        if chain is None:
            known = (chain.name for chain in self.around.chains)
            self.found.add(problems.unknown_chain(written.chain.text, written.chain.span, known))
            return None
        return TestSend(chain.name, packet, written.span) if packet is not None else None

    # ---- expectations

    def _expect(self, written: syntax.Expect) -> Item | None:
        conditions = tuple(self._condition(condition) for condition in written.conditions)
        bad = any(is_poison(condition) for condition in conditions)
        callee = written.value.function if isinstance(written.value, syntax.Call) else written.value
        if isinstance(callee, syntax.Name) and self.around.scope.find(callee.text) is None:
            if callee.text in LATER:
                self.found.add(problems.not_in_this_version(f"`expect {callee.text}`", callee.span))
            else:
                self.found.add(problems.unknown_name(callee.text, callee.span, VERDICTS))
            return None
        verdict = verdict_kind(callee.text) if isinstance(callee, syntax.Name) else None
        if verdict is not None and callee is written.value:
            if not self.has_sent:
                self.found.add(problems.expect_without_send(written.span))
            return None if bad else TestExpect(verdict, conditions, written.span)
        condition = self._condition(written.value)
        if is_poison(condition):
            return None
        if written.conditions or not any(isinstance(part, CounterRead) for part in walk(condition)):
            self.found.add(problems.unknown_expectation(written.value.span))
            return None
        return TestExpectState(condition, written.span)

    def _condition(self, written: syntax.Expression) -> Expression:
        expressions = Expressions(self.around.headers.table, self.found, counter=self._counter)
        condition = expressions.condition(written, self.around.scope)
        for part in walk(condition):
            if isinstance(part, MetaRead | ConfigRead):
                kind = "meta" if isinstance(part, MetaRead) else "setting"
                self.found.add(problems.unseen_in_test(kind, part.name, part.span))
        return condition

    def _counter(self, written: syntax.Attribute, scope: Scope) -> Expression:
        """`sources[1].packets`."""
        indexed = written.value
        assert isinstance(indexed, syntax.Index)
        span = written.span
        base = indexed.value
        if not isinstance(base, syntax.Name) or not isinstance(scope.find(base.text), TableName):
            self.found.add(problems.unknown_table(base.span.text, base.span, self.around.tables))
            return poison(span)
        table = self.around.tables.get(base.text)
        index = Expressions(self.around.headers.table, self.found).constant(
            indexed.index, scope, unsigned(32), "the number of a rule"
        )
        if table is None or index is None:
            return poison(span)
        unit = written.name.text
        if unit not in ("packets", "bytes"):
            self.found.add(problems.unknown_field(indexed.span.text, unit, written.name.span, ("packets", "bytes")))
            return poison(span)
        if not (table.count_packets if unit == "packets" else table.count_bytes):
            self.found.add(problems.counter_not_kept(table.name, unit, span))
            return poison(span)
        rules = len(self.rules.get(table.name, ()))
        if index.value > rules:
            self.found.add(problems.no_such_rule(table.name, index.value, rules, indexed.index.span))
            return poison(span)
        return CounterRead(table.name, index.value, "packets" if unit == "packets" else "bytes", unsigned(64), span)
