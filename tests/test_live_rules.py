"""Rules of a running table: ids, owners, places, edits, and what a swap makes of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcnc.rule_edits import AddRule, DeleteRule, Edit, ReplaceRules
from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, Parameter, Rule, TableSchema
from pcnc.types import unsigned
from pcnc_runtime.edit_rules import edit_rules
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.live_rules import LiveRule, compare, rules_of_file, shadowed
from pcnc_runtime.merge_rules import merge_rules, misfits_of
from pcnc_runtime.misfits import MisfitRule

PORT = unsigned(16)
ACTIONS = (ActionSchema("drop"), ActionSchema("next"), ActionSchema("mark", (Parameter("value", unsigned(8)),)))
PLAIN = TableSchema("hosts", (ColumnSchema("port", "exact", PORT),), ACTIONS, False, 8)
ORDERED = TableSchema("acl", (ColumnSchema("port", "range", PORT),), ACTIONS, True, 50)


def exact(port: int, action: str = "drop", *arguments: int) -> Rule:
    return Rule((MaskedValue(port, 0xFFFF),), action, arguments)


def span(low: int, high: int, action: str = "drop") -> Rule:
    return Rule((Interval(low, high),), action)


def one(port: int, action: str = "drop") -> Rule:
    return span(port, port, action)


def look(rules: tuple[LiveRule, ...]) -> list[tuple[int, str]]:
    return [(rule.id, rule.origin) for rule in rules]


def edited(schema: TableSchema, rules: tuple[LiveRule, ...], *edits: Edit) -> tuple[LiveRule, ...]:
    return edit_rules(schema, rules, max((rule.id for rule in rules), default=0) + 1, edits).rules


def refused(schema: TableSchema, rules: tuple[LiveRule, ...], *edits: Edit) -> RuntimeProblem:
    with pytest.raises(RuntimeProblem) as caught:
        edited(schema, rules, *edits)
    return caught.value


# ---- unordered tables


def test_ids_begin_at_one_and_are_given_once() -> None:
    made = edit_rules(PLAIN, (), 1, [AddRule("hosts", exact(1)), AddRule("hosts", exact(2)), DeleteRule("hosts", id=2)])
    assert look(made.rules) == [(1, "operator")]
    assert made.next_id == 3


def test_the_same_match_twice_is_refused_whatever_it_does() -> None:
    rules = edited(PLAIN, (), AddRule("hosts", exact(1)))
    for rule in (exact(1), exact(1, "next")):
        problem = refused(PLAIN, rules, AddRule("hosts", rule))
        assert (problem.name, problem.help) == ("rule-exists", "delete rule 1 first")


def test_a_rule_that_file_and_operator_have_is_one_rule() -> None:
    file = rules_of_file([exact(1), exact(2)]).rules
    both = edited(PLAIN, file, AddRule("hosts", exact(2)))
    assert look(both) == [(1, "file"), (2, "both")]
    assert refused(PLAIN, both, AddRule("hosts", exact(2))).name == "rule-exists"
    made = edit_rules(PLAIN, both, 3, [DeleteRule("hosts", match=exact(2).matches)])
    assert look(made.rules) == [(1, "file"), (2, "file")]
    assert "the file has it, too" in made.notes[0]


def test_against_the_file_an_operator_says_so_first() -> None:
    file = rules_of_file([exact(1)]).rules
    problem = refused(PLAIN, file, AddRule("hosts", exact(1, "next")))
    assert "rule 1, from the file, says `drop`" in problem.message
    made = edit_rules(PLAIN, file, 2, [DeleteRule("hosts", id=1), AddRule("hosts", exact(1, "next"))])
    assert look(made.rules) == [(2, "operator")]
    assert "a swap brings it back" in made.notes[0]


def test_a_full_table_takes_no_more() -> None:
    rules = edited(PLAIN, (), *(AddRule("hosts", exact(port)) for port in range(8)))
    assert refused(PLAIN, rules, AddRule("hosts", exact(9))).name == "table-full"
    assert len(edited(PLAIN, rules, AddRule("hosts", exact(9)), DeleteRule("hosts", id=1))) == 8, "together they fit"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (exact(1, "flood"), "no action `flood`"),
        (exact(1, "mark"), "takes 1 arguments, not 0"),
        (exact(1, "mark", 256), "256 does not fit `value: u8`"),
        (exact(0x10000), "matched by exact"),
        (Rule((MaskedValue(0, 0xFF00),), "drop"), "matched by exact"),
        (Rule((None,), "drop"), "`*` cannot stand for `port`"),
        (Rule((), "drop"), "matches 1 fields, not 0"),
        (span(1, 2), "matched by exact"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(rule: Rule, reason: str) -> None:
    problem = refused(PLAIN, (), AddRule("hosts", rule))
    assert problem.name == "bad-rule"
    assert reason in problem.message


@pytest.mark.parametrize("edit", [DeleteRule("hosts", id=9), DeleteRule("hosts", match=exact(9).matches), DeleteRule("hosts")])
def test_what_is_not_there_cannot_go(edit: DeleteRule) -> None:
    assert refused(PLAIN, edited(PLAIN, (), AddRule("hosts", exact(1))), edit).name == "no-such-rule"


def test_replacing_keeps_id_and_slot_of_the_same_match() -> None:
    before = (LiveRule(3, "operator", exact(1), 11), LiveRule(4, "operator", exact(2), 12), LiveRule(5, "file", exact(3), 13, 0))
    after = edited(PLAIN, before, ReplaceRules("hosts", (exact(2, "next"), exact(7), exact(3))))
    assert [(rule.id, rule.origin, rule.slot) for rule in after] == [(4, "operator", 12), (5, "both", 13), (6, "operator", 0)]
    changes = compare("hosts", before, after)
    assert (changes.added, changes.removed, changes.replaced) == ((6,), (3,), (4,))
    assert look(edited(PLAIN, after, ReplaceRules("hosts", ()))) == [(5, "file")]


def test_replacing_refuses_what_adding_refuses() -> None:
    file = rules_of_file([exact(1)]).rules
    assert refused(PLAIN, file, ReplaceRules("hosts", (exact(1, "next"),))).name == "rule-exists"
    assert refused(PLAIN, file, ReplaceRules("hosts", (exact(2), exact(2, "next")))).name == "rule-exists"


# ---- ordered tables


def test_operators_rules_stand_before_the_files_in_the_order_given() -> None:
    file = rules_of_file([one(1), one(2)]).rules
    rules = edited(ORDERED, file, AddRule("acl", one(3)), AddRule("acl", one(4)))
    rules = edited(ORDERED, rules, AddRule("acl", one(5)))
    assert [rule.id for rule in rules] == [3, 4, 5, 1, 2]


def test_a_place_can_be_asked_for() -> None:
    file = rules_of_file([one(1), one(2)]).rules
    rules = edited(
        ORDERED,
        file,
        AddRule("acl", one(3), last=True),
        AddRule("acl", one(4), before=2),
        AddRule("acl", one(5), at=1),
        AddRule("acl", one(6), at=6),
        AddRule("acl", one(7)),
    )
    assert [rule.id for rule in rules] == [5, 7, 1, 4, 2, 3, 6]


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (AddRule("acl", one(9), before=7), "no-such-rule"),
        (AddRule("acl", one(9), at=0), "bad-position"),
        (AddRule("acl", one(9), at=4), "bad-position"),
        (AddRule("acl", one(9), at=1, last=True), "bad-position"),
        (AddRule("acl", one(1), before=1), "bad-position"),
    ],
)
def test_a_place_that_there_is_not(edit: AddRule, name: str) -> None:
    assert refused(ORDERED, rules_of_file([one(1), one(2)]).rules, edit).name == name


def test_an_unordered_table_has_no_places() -> None:
    assert refused(PLAIN, (), AddRule("hosts", exact(1), last=True)).name == "bad-position"


def test_a_rule_of_both_stands_where_the_operator_put_it_and_goes_back_to_its_place_in_the_file() -> None:
    file = rules_of_file([one(1), one(2), one(3)]).rules
    rules = edited(ORDERED, file, AddRule("acl", one(2)))
    assert look(rules) == [(2, "both"), (1, "file"), (3, "file")]
    assert look(edited(ORDERED, rules, DeleteRule("acl", id=2))) == [(1, "file"), (2, "file"), (3, "file")]
    assert look(edited(ORDERED, rules, ReplaceRules("acl", ()))) == [(1, "file"), (2, "file"), (3, "file")]
    last = edited(ORDERED, file, AddRule("acl", one(1), last=True))
    assert look(last) == [(2, "file"), (3, "file"), (1, "both")]
    assert look(edited(ORDERED, last, DeleteRule("acl", id=1))) == [(1, "file"), (2, "file"), (3, "file")]


def test_an_ordered_table_takes_the_same_match_again_and_loses_the_first_of_them() -> None:
    rules = edited(ORDERED, (), AddRule("acl", one(1)), AddRule("acl", one(1, "next")))
    assert look(edited(ORDERED, rules, DeleteRule("acl", match=one(1).matches))) == [(2, "operator")]
    assert refused(ORDERED, rules, AddRule("acl", one(1))).name == "rule-exists"


def test_only_new_rules_are_warned_of() -> None:
    rules = edited(ORDERED, (), AddRule("acl", span(0, 99)), AddRule("acl", one(5)), AddRule("acl", one(100)))
    (warning,) = shadowed(ORDERED, rules, frozenset({2}))
    assert warning == "rule 2 of `acl` (`5 -> drop`) can never match: rule 1 (`0..99 -> drop`) comes first and covers it"
    assert shadowed(ORDERED, rules, frozenset({3})) == ()
    assert len(shadowed(ORDERED, rules, frozenset({1}))) == 1, "the covering rule is the new one"


@pytest.mark.parametrize("schema", [PLAIN, ORDERED])
def test_thousands_of_edits_take_no_time(schema: TableSchema) -> None:
    wide = TableSchema(schema.name, schema.columns, schema.actions, schema.ordered, 20_000)
    make = one if schema.ordered else exact
    file = rules_of_file([make(port) for port in range(5_000)]).rules
    began = time.process_time()
    rules = edited(wide, file, *(AddRule(wide.name, make(port)) for port in range(5_000, 15_000)))
    rules = edited(wide, rules, *(DeleteRule(wide.name, id=id) for id in range(5_001, 15_001)))
    assert time.process_time() - began < 2
    assert rules == file


def ports() -> st.SearchStrategy[int]:
    return st.integers(1, 6)


def any_edit() -> st.SearchStrategy[Edit]:
    added = st.builds(
        AddRule,
        st.just("acl"),
        st.builds(one, ports(), st.sampled_from(["drop", "next"])),
        st.none() | st.integers(1, 6),
        st.none() | st.integers(1, 6),
        st.booleans(),
    )
    deleted = st.builds(DeleteRule, st.just("acl"), st.integers(1, 9))
    replaced = st.builds(ReplaceRules, st.just("acl"), st.lists(st.builds(one, ports()), max_size=3).map(tuple))
    return st.one_of(added, deleted, replaced)


@given(st.lists(ports(), unique=True, max_size=4), st.lists(any_edit(), max_size=6))
def test_whatever_is_edited_ids_are_unique_and_the_files_order_stays(file: list[int], edits: list[Edit]) -> None:
    rules, next_id = rules_of_file([one(port) for port in file]).rules, len(file) + 1
    for edit in edits:
        try:
            made = edit_rules(ORDERED, rules, next_id, [edit])
        except RuntimeProblem:
            continue
        rules, next_id = made.rules, made.next_id
        assert len({rule.id for rule in rules}) == len(rules)
        assert all(rule.id < next_id for rule in rules)
        order = [rule.file_index for rule in rules if rule.origin == "file"]
        assert order == sorted(order, key=lambda index: -1 if index is None else index)
        assert all((rule.file_index is None) == (rule.origin == "operator") for rule in rules)


# ---- swaps


def swapped(
    schema: TableSchema, rules: tuple[LiveRule, ...], file: list[Rule], new: TableSchema | None = None
) -> list[tuple[int, str]]:
    merged = merge_rules(schema, rules, new or schema, file, 50)
    assert merged.misfits == ()
    return look(merged.rules)


def test_a_swap_replaces_the_files_rules_and_keeps_the_operators() -> None:
    rules = edited(PLAIN, rules_of_file([exact(1), exact(2)]).rules, AddRule("hosts", exact(3)))
    merged = merge_rules(PLAIN, rules, PLAIN, [exact(2, "next"), exact(4)], 50)
    assert look(merged.rules) == [(2, "file"), (3, "operator"), (50, "file")]
    assert merged.rules[0].rule.action == "next", "the same match: the same rule, saying something else"


def test_what_the_new_file_has_as_well_is_of_both_and_what_it_lost_stays_the_operators() -> None:
    rules = edited(PLAIN, rules_of_file([exact(1)]).rules, AddRule("hosts", exact(1)), AddRule("hosts", exact(2)))
    assert swapped(PLAIN, rules, [exact(2)]) == [(1, "operator"), (2, "both")]


def test_places_among_the_files_rules_live_on() -> None:
    rules = edited(
        ORDERED,
        rules_of_file([one(1), one(2), one(3)]).rules,
        AddRule("acl", one(10)),
        AddRule("acl", one(11), before=2),
        AddRule("acl", one(12), before=3),
        AddRule("acl", one(13), last=True),
    )
    assert [id for id, _ in swapped(ORDERED, rules, [one(3), one(9), one(2)])] == [4, 6, 3, 50, 5, 2, 7]
    assert [id for id, _ in swapped(ORDERED, rules, [one(1)])] == [4, 1, 5, 6, 7], "what followed is gone: behind what preceded"
    assert [id for id, _ in swapped(ORDERED, rules, [one(9)])] == [4, 5, 6, 50, 7]
    assert [id for id, _ in swapped(ORDERED, rules, [])] == [4, 5, 6, 7]


def test_rules_follow_their_columns_by_name() -> None:
    wider = TableSchema("acl", (ColumnSchema("proto", "ternary", unsigned(8)), *ORDERED.columns), ACTIONS, True, 50)
    rules = edited(ORDERED, (), AddRule("acl", one(1)))
    merged = merge_rules(ORDERED, rules, wider, [], 50)
    assert merged.rules[0].rule.matches == (None, Interval(1, 1))
    back = merge_rules(wider, merged.rules, ORDERED, [], 50)
    assert back.rules[0].rule == one(1)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (TableSchema("acl", (ColumnSchema("proto", "range", PORT),), ACTIONS, True, 50), "does not match `port` any more"),
        (TableSchema("acl", (ColumnSchema("port", "range", unsigned(1)),), ACTIONS, True, 50), "of type u1 now"),
        (TableSchema("acl", (ColumnSchema("port", "ternary", PORT),), ACTIONS, True, 50), "matched by ternary"),
        (TableSchema("acl", ORDERED.columns, ACTIONS[1:], True, 50), "no action `drop` any more"),
        (
            TableSchema("acl", ORDERED.columns, (ActionSchema("drop", (Parameter("x", PORT),)),), True, 50),
            "`drop` has other parameters now",
        ),
    ],
)
def test_what_cannot_stay_is_named(new: TableSchema, reason: str) -> None:
    rules = edited(ORDERED, (), AddRule("acl", span(1, 2)))
    merged = merge_rules(ORDERED, rules, new, [], 50)
    assert merged.rules == ()
    (misfit,) = merged.misfits
    assert (misfit.id, misfit.text) == (1, "1..2 -> drop")
    assert reason in misfit.reason


def test_in_an_unordered_table_the_new_file_may_not_contradict_the_operator() -> None:
    rules = edited(PLAIN, (), AddRule("hosts", exact(1)))
    merged = merge_rules(PLAIN, rules, PLAIN, [exact(1, "next")], 50)
    assert merged.misfits == (MisfitRule(1, "1 -> drop", "the new file says `1 -> next`"),)
    assert look(merged.rules) == [(1, "file")]
    ordered = edited(ORDERED, (), AddRule("acl", one(1)))
    assert swapped(ORDERED, ordered, [one(1, "next")]) == [(1, "operator"), (50, "file")]


def test_a_table_that_is_gone_takes_only_the_files_rules_with_it() -> None:
    rules = edited(PLAIN, rules_of_file([exact(1)]).rules, AddRule("hosts", exact(2)))
    assert misfits_of(PLAIN, rules, "gone") == (MisfitRule(2, "2 -> drop", "gone"),)


def test_a_swap_of_many_rules_takes_no_time() -> None:
    wide = TableSchema("acl", ORDERED.columns, ACTIONS, True, 60_000)
    file = rules_of_file([one(port) for port in range(10_000)]).rules
    rules = edited(wide, file, *(AddRule("acl", one(port)) for port in range(10_000, 20_000)))
    began = time.process_time()
    merged = merge_rules(wide, rules, wide, [one(port) for port in range(5_000, 15_000)], 20_001)
    assert time.process_time() - began < 1
    assert sum(rule.origin == "both" for rule in merged.rules) == 5_000
