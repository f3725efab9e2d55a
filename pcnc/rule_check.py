"""What is wrong among rules that are sound each by itself: too many, the same twice, covered by earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pcnc import problems
from pcnc.diagnostics import Diagnostic, Severity
from pcnc.rule_reader import MOST_PROBLEMS, Matches
from pcnc.rule_values import format_match, format_rule
from pcnc.rules import Rule, TableSchema
from pcnc.shadowing import covering_rules


def check_rules(rules: Sequence[Rule], schema: TableSchema) -> list[Diagnostic]:
    """All rules of a table together, in their order; of each problem at most `MOST_PROBLEMS` are told and the rest counted."""
    found: list[Diagnostic] = []
    if len(rules) > schema.size:
        place = rules[schema.size].span
        found.append(problems.table_too_small(schema.name, schema.size, len(rules), place))
    found.extend(_capped(_needs(rules, schema), Severity.ERROR))
    if schema.ordered:
        found.extend(_capped(_shadowed(rules, schema), Severity.WARNING))
    else:
        found.extend(_capped(_contradictions(rules, schema), Severity.ERROR))
    return found


def missing_columns(rule: Rule, schema: TableSchema) -> tuple[str, ...] | None:
    """Columns of which the rule must ask something of one, and does not, for its action to find its headers; None: it may."""
    action = next((action for action in schema.actions if action.name == rule.action), None)
    if action is None or not action.needs:
        return None
    asked = {column.name for column, pattern in zip(schema.columns, rule.matches, strict=True) if pattern is not None}
    return next((group for group in action.needs if not asked.intersection(group)), None)


def _needs(rules: Sequence[Rule], schema: TableSchema) -> Iterable[Diagnostic]:
    if not any(action.needs for action in schema.actions):
        return
    for rule in rules:
        columns = missing_columns(rule, schema)
        if columns is not None:
            yield problems.rule_needs_header(rule.action, columns, rule.span)


def _contradictions(rules: Sequence[Rule], schema: TableSchema) -> Iterable[Diagnostic]:
    first: dict[Matches, Rule] = {}
    for rule in rules:
        earlier = first.setdefault(rule.matches, rule)
        if earlier is not rule:
            yield problems.contradicting_rules(format_match(rule.matches, schema), rule.span, earlier.span)


def _shadowed(rules: Sequence[Rule], schema: TableSchema) -> Iterable[Diagnostic]:
    for rule, earlier in covering_rules(rules, schema):
        yield problems.shadowed_rule(rule.span, earlier.span, format_rule(earlier, schema))


def _capped(found: Iterable[Diagnostic], severity: Severity) -> Iterable[Diagnostic]:
    more = 0
    first = None
    for count, problem in enumerate(found):
        if count < MOST_PROBLEMS:
            yield problem
        else:
            more += 1
            first = first or problem.span
    if more:
        yield problems.more_rule_problems(more, first, severity)
