"""The rules of a running table: who owns each, its id, its place.

In an ordered table the operator's rules stand before the file's unless placed otherwise, and the file's in the order of the
file. A rule that both have is one rule; it stands where the operator put it, and goes back to its place in the file when
the operator lets go of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcnc.rule_check import missing_columns
from pcnc.rule_values import format_rule
from pcnc.rules import Interval, MaskedValue, Rule, TableSchema
from pcnc.shadowing import covering_rules
from pcnc_runtime.changes import Origin, RuleChanges
from pcnc_runtime.errors import RuntimeProblem

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class LiveRule:
    """A rule in force. `slot` is its place in the counters, 0 where it has none; `file_index` its place among the file's rules."""

    id: int
    origin: Origin
    rule: Rule
    slot: int = 0
    file_index: int | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A table's rules after edits, the next id to give, and what the operator should know."""

    rules: tuple[LiveRule, ...]
    next_id: int
    notes: tuple[str, ...] = ()


def rules_of_file(rules: Sequence[Rule], next_id: int = 1) -> Edited:
    """A table's rules when it is loaded; ids begin with `next_id`."""
    live = tuple(LiveRule(next_id + index, "file", rule, 0, index) for index, rule in enumerate(rules))
    return Edited(live, next_id + len(live))


def check_size(schema: TableSchema, count: int) -> None:
    """RuntimeProblem `table-full` where a table has no room for so many rules."""
    if count > schema.size:
        raise no_room(schema, count)


def no_room(schema: TableSchema, count: int) -> RuntimeProblem:
    """The problem `table-full`: so many rules are more than a table has room for."""
    text = f"table `{schema.name}` has room for {schema.size} rules, and {count} would be in it"
    return RuntimeProblem("table-full", text, "give it a larger `size` in the file and swap, or delete rules first")


def compare(table: str, before: Sequence[LiveRule], after: Sequence[LiveRule]) -> RuleChanges:
    """What became of a table's rules. One that keeps its id keeps its match, though the columns around it may be others."""
    old = {rule.id: (rule.rule.action, rule.rule.arguments) for rule in before}
    new = {rule.id for rule in after}
    return RuleChanges(
        table,
        tuple(rule.id for rule in after if rule.id not in old),
        tuple(rule.id for rule in before if rule.id not in new),
        tuple(rule.id for rule in after if rule.id in old and old[rule.id] != (rule.rule.action, rule.rule.arguments)),
    )


def shadowed(schema: TableSchema, rules: Sequence[LiveRule], new: frozenset[int]) -> tuple[str, ...]:
    """Warnings of rules that an earlier one covers, where one of the two is new."""
    if not schema.ordered or not new:
        return ()
    ids = {id(rule.rule): rule.id for rule in rules}
    warnings = []
    for rule, earlier in covering_rules([rule.rule for rule in rules], schema):
        late, early = ids[id(rule)], ids[id(earlier)]
        if late in new or early in new:
            what = f"rule {late} of `{schema.name}` (`{format_rule(rule, schema)}`) can never match"
            warnings.append(f"{what}: rule {early} (`{format_rule(earlier, schema)}`) comes first and covers it")
    return first_of(warnings, f"more rules of `{schema.name}` can never match")


def first_of(lines: Sequence[str], others: str) -> tuple[str, ...]:
    """The first lines, and of more how many `others` there are."""
    more = len(lines) - _MOST_TOLD
    return (*lines[:_MOST_TOLD], f"{more} {others}") if more > 0 else tuple(lines)


def why_not(rule: Rule, schema: TableSchema) -> str:
    """What is wrong with a rule by itself; empty where nothing is."""
    action = next((action for action in schema.actions if action.name == rule.action), None)
    if action is None:
        return f"table `{schema.name}` has no action `{rule.action}`"
    if len(rule.arguments) != len(action.parameters):
        return f"`{action.name}` takes {len(action.parameters)} arguments, not {len(rule.arguments)}"
    for value, parameter in zip(rule.arguments, action.parameters, strict=True):
        if not 0 <= value <= parameter.type.maximum:
            return f"{value} does not fit `{parameter.name}: {parameter.type}`"
    if len(rule.matches) != len(schema.columns):
        return f"table `{schema.name}` matches {len(schema.columns)} fields, not {len(rule.matches)}"
    for pattern, column in zip(rule.matches, schema.columns, strict=True):
        if pattern is None:
            if column.kind == "exact" and not schema.ordered:
                return f"`*` cannot stand for `{column.name}`, which is matched exactly"
        elif not _is_of_kind(pattern, column.kind, column.type.maximum):
            return f"`{column.name}` is matched by {column.kind}, which this is not: {pattern}"
    if missing := missing_columns(rule, schema):
        return f"`{rule.action}` needs a header that only {' or '.join(f'`{name}`' for name in missing)} can promise"
    return ""


def _is_of_kind(pattern: Interval | MaskedValue, kind: str, maximum: int) -> bool:
    match pattern:
        case Interval(low=low, high=high):
            return kind == "range" and 0 <= low <= high <= maximum
        case MaskedValue(value=value, mask=mask):
            if not 0 <= value <= mask <= maximum or value & ~mask:
                return False
            below = maximum ^ mask
            return {"exact": not below, "range": False, "ternary": True}.get(kind, not below & (below + 1))
