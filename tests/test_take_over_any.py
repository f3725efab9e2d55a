"""Any table taken over into any other: nothing of the operator's gets lost without being named, and what is there fits."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, MatchKind, Parameter, Pattern, Rule, TableSchema
from pcnc.types import Type, unsigned
from pcnc_runtime.live_rules import LiveRule, rules_of_file, why_not
from pcnc_runtime.merge_rules import Merged, merge_rules

COLOUR = Type("colour", 3, "enum", (("red", 1), ("blue", 2)))
PAINT = Type("paint", 3, "enum", (("red", 1), ("blue", 3)))
TYPES = [unsigned(2), unsigned(3), unsigned(4), COLOUR, PAINT, Type("address", 3, "ipv4")]
TYPE = st.sampled_from(TYPES)
ORDERED: list[MatchKind] = ["exact", "prefix", "range", "ternary"]


@st.composite
def schemas(draw: st.DrawFn) -> TableSchema:
    ordered = draw(st.booleans())
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    kinds: list[MatchKind] = [draw(st.sampled_from(ORDERED)) if ordered else "exact" for _ in names]
    if not ordered and draw(st.booleans()):
        kinds[draw(st.integers(0, len(names) - 1))] = "lpm"
    columns = tuple(ColumnSchema(name, kind, draw(TYPE)) for name, kind in zip(names, kinds, strict=True))
    actions = []
    for name in draw(st.lists(st.sampled_from(["drop", "mark", "send"]), min_size=1, unique=True)):
        parameters = draw(st.permutations(["x", "y"]))[: draw(st.integers(0, 2))]
        actions.append(ActionSchema(name, tuple(Parameter(each, draw(TYPE)) for each in parameters)))
    return TableSchema("t", columns, tuple(actions), ordered, draw(st.integers(4, 9)))


def patterns(column: ColumnSchema, ordered: bool) -> st.SearchStrategy[Pattern]:
    top = column.type.maximum
    value = st.integers(0, top)
    exact = st.builds(lambda wanted: MaskedValue(wanted, top), value)
    prefix = st.builds(lambda wanted, length: _masked(wanted, top ^ top >> length), value, st.integers(0, column.type.bits))
    star = st.none()
    match column.kind:
        case "exact":
            return st.one_of(exact, star) if ordered else exact
        case "lpm" | "prefix":
            return st.one_of(prefix, star)
        case "range":
            return st.one_of(st.builds(lambda a, b: Interval(min(a, b), max(a, b)), value, value), star)
        case "ternary":
            return st.one_of(st.builds(_masked, value, value), star)


def _masked(value: int, mask: int) -> MaskedValue:
    return MaskedValue(value & mask, mask)


@st.composite
def rules(draw: st.DrawFn, schema: TableSchema, most: int) -> list[Rule]:
    def rule() -> Rule:
        action = draw(st.sampled_from(schema.actions))
        given = tuple(draw(st.integers(0, parameter.type.maximum)) for parameter in action.parameters)
        return Rule(tuple(draw(patterns(column, schema.ordered)) for column in schema.columns), action.name, given)

    found = [rule() for _ in range(draw(st.integers(0, most)))]
    return found if schema.ordered else list({each.matches: each for each in found}.values())


@st.composite
def tables(draw: st.DrawFn) -> tuple[TableSchema, list[LiveRule], TableSchema, list[Rule]]:
    """A running table with rules of the file and of the operator, another schema, and what the new file says."""
    old, new = draw(schemas()), draw(schemas())
    file = draw(rules(old, 2))
    matches = {rule.matches for rule in file}
    # What both have is one rule, and nobody has one twice.
    added = dict.fromkeys(draw(rules(old, 2)))
    mine = [rule for rule in added if rule not in file and (old.ordered or rule.matches not in matches)]
    live = [*(LiveRule(10 + index, "operator", rule, 5 + index) for index, rule in enumerate(mine)), *rules_of_file(file).rules]
    if not old.ordered:
        live.sort(key=lambda rule: rule.id)
    return old, live, new, draw(rules(new, 4))


@given(tables())
def test_what_goes_over_fits_and_what_does_not_is_named(case: tuple[TableSchema, list[LiveRule], TableSchema, list[Rule]]) -> None:
    old, live, new, file = case
    merged = merge_rules(old, live, new, file, 50)
    ids = [rule.id for rule in merged.rules]
    assert len(ids) == len(set(ids)) <= new.size
    assert all(why_not(rule.rule, new) == "" for rule in merged.rules)
    if not new.ordered:
        assert len({rule.rule.matches for rule in merged.rules}) == len(ids)
    of_file = sorted((rule for rule in merged.rules if rule.file_index is not None), key=lambda rule: rule.file_index or 0)
    assert [rule.rule for rule in of_file] == file, "the file's rules are the new file's"
    mine = {rule.id for rule in live if rule.origin == "operator"}
    kept = {rule.id for rule in merged.rules if rule.origin != "file"}
    assert kept.isdisjoint(unfit := {misfit.id for misfit in merged.misfits})
    assert kept | unfit == mine, "each of the operator's is there or is named"
    slots = {rule.id: rule.slot for rule in live}
    assert all(rule.slot == slots.get(rule.id, 0) for rule in merged.rules), "each with its counter"


@given(tables())
def test_rules_that_went_over_take_the_same_values(case: tuple[TableSchema, list[LiveRule], TableSchema, list[Rule]]) -> None:
    old, live, new, _ = case
    before = {rule.id: rule.rule for rule in live}
    for rule in merge_rules(old, live, new, [], 50).rules:
        then = _asked(old, before[rule.id])
        now = _asked(new, rule.rule)
        for column in then.keys() & now.keys():
            both = range(min(then[column][0], now[column][0]) + 1)
            assert [_takes(then[column][1], each) for each in both] == [_takes(now[column][1], each) for each in both], column
        assert all(then[column][1] is None for column in then.keys() - now.keys())
        assert all(now[column][1] is None for column in now.keys() - then.keys())


def _asked(schema: TableSchema, rule: Rule) -> dict[str, tuple[int, Pattern]]:
    return {column.name: (column.type.maximum, pattern) for column, pattern in zip(schema.columns, rule.matches, strict=True)}


def _takes(pattern: Pattern, value: int) -> bool:
    match pattern:
        case None:
            return True
        case Interval(low, high):
            return low <= value <= high
        case MaskedValue(wanted, mask):
            return value & mask == wanted


@given(tables())
def test_there_and_back_is_where_it_was(case: tuple[TableSchema, list[LiveRule], TableSchema, list[Rule]]) -> None:
    """Into a table of the same shape everything goes, as it is."""
    old, live, _, _ = case
    file = [rule.rule for rule in live if rule.origin == "file"]
    merged: Merged = merge_rules(old, live, old, file, 50)
    assert merged.misfits == ()
    assert _said(merged.rules) == _said(live)


def _said(rules: Sequence[LiveRule]) -> list[tuple[int, Rule, int]]:
    return [(rule.id, rule.rule, rule.slot) for rule in rules]
