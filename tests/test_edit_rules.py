"""Edits of a table one after another: all problems at once, places in a long order, flushing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, Rule, TableSchema
from pcnc.source import Source, Span
from pcnc.types import unsigned
from pcnc_runtime import rule_order
from pcnc_runtime.edit_rules import edit_rules
from pcnc_runtime.errors import RefusedEdits
from pcnc_runtime.live_rules import LiveRule, rules_of_file
from pcnc_runtime.rule_order import RuleOrder

pytestmark = pytest.mark.text

ACTIONS = (ActionSchema("drop"), ActionSchema("next"))
HOSTS = TableSchema("hosts", (ColumnSchema("port", "exact", unsigned(16)),), ACTIONS, False, 4)
ACL = TableSchema("acl", (ColumnSchema("port", "range", unsigned(16)),), ACTIONS, True, 100_000)
TEXT = Source("changes", "".join(f"line {number}\n" for number in range(1, 100)))


def at(line: int) -> Span:
    start = TEXT.text.index(f"line {line}\n")
    return Span(TEXT, start, start + len(f"line {line}"))


def host(port: int, action: str = "drop", line: int = 0) -> Rule:
    return Rule((MaskedValue(port, 0xFFFF),), action, (), at(line) if line else None)


def port(number: int, action: str = "drop") -> Rule:
    return Rule((Interval(number, number),), action)


def told(schema: TableSchema, rules: tuple[LiveRule, ...], *edits: Edit) -> list[tuple[str, int, int]]:
    """What is refused: the problem, the line, and the line of what it collides with."""
    with pytest.raises(RefusedEdits) as caught:
        edit_rules(schema, rules, 10, edits)
    return [
        (each.problem.name, each.span.line if each.span else 0, each.earlier.line if each.earlier else 0)
        for each in caught.value.refused
    ]


def test_all_that_is_wrong_is_told_with_its_place_and_what_it_collides_with() -> None:
    rules = rules_of_file([host(1)]).rules
    edits: list[Edit] = [
        AddRule("hosts", host(2, line=1)),
        AddRule("hosts", host(2, "next", line=2)),
        AddRule("hosts", host(1, "next", line=3)),
        DeleteRule("hosts", id=77, span=at(4)),
        DeleteRule("hosts", match=host(2).matches, span=at(5)),
        DeleteRule("hosts", match=host(2).matches, span=at(6)),
        AddRule("hosts", host(3, "flood", line=7)),
        AddRule("hosts", host(4, line=8), at=1),
        FlushTable("hosts", at(9)),
        DeleteRule("hosts", id=1, span=at(10)),
    ]
    assert told(HOSTS, rules, *edits) == [
        ("rule-exists", 2, 1),
        ("rule-exists", 3, 0),
        ("no-such-rule", 4, 0),
        ("no-such-rule", 6, 5),
        ("bad-rule", 7, 0),
        ("bad-position", 8, 0),
        ("no-such-rule", 10, 9),
    ]


def test_a_problem_has_no_others_in_its_wake() -> None:
    misplaced = AddRule("hosts", host(4, line=1), before=3)
    assert told(HOSTS, (), misplaced, DeleteRule("hosts", match=host(4).matches, span=at(2))) == [("bad-position", 1, 0)]
    twice = [AddRule("hosts", host(4, line=number)) for number in (1, 2)]
    assert told(HOSTS, (), *twice, DeleteRule("hosts", match=host(4).matches)) == [("rule-exists", 2, 1)]


def test_what_is_too_much_is_told_where_it_becomes_so_and_stays_so() -> None:
    adding = [AddRule("hosts", host(number, line=number)) for number in range(1, 7)]
    assert told(HOSTS, (), *adding) == [("table-full", 5, 0)]
    assert told(HOSTS, (), *adding[:5], DeleteRule("hosts", match=host(1).matches), adding[5]) == [("table-full", 6, 0)]
    deleting = [DeleteRule("hosts", match=host(number).matches) for number in (1, 2)]
    assert len(edit_rules(HOSTS, (), 1, [*adding, *deleting]).rules) == 4, "what counts is the end"


def test_all_bad_rules_of_a_replacement_are_told() -> None:
    rules = rules_of_file([host(1)]).rules
    new = (host(2, line=2), host(1, "next", line=3), host(2, "next", line=4), host(5, "flood", line=5))
    assert told(HOSTS, rules, ReplaceRules("hosts", new, at(1))) == [
        ("rule-exists", 3, 0),
        ("rule-exists", 4, 2),
        ("bad-rule", 5, 0),
    ]


def test_flushing_takes_all_and_the_table_can_be_filled_again() -> None:
    for schema, rule in ((HOSTS, host), (ACL, port)):
        rules = edit_rules(schema, rules_of_file([rule(1)]).rules, 2, [AddRule("t", rule(2))]).rules
        made = edit_rules(schema, rules, 3, [FlushTable("t"), AddRule("t", rule(1, "next"))])
        assert [(each.id, each.origin, each.rule.action) for each in made.rules] == [(3, "operator", "next")]
        assert made.notes == (f"1 rule of `{schema.name}` is the file's: a swap brings it back",)


def test_rules_do_not_keep_the_text_alive_that_they_were_read_from() -> None:
    (made,) = edit_rules(HOSTS, (), 1, [AddRule("hosts", host(1, line=1))]).rules
    assert made.rule.span is None
    (made,) = edit_rules(HOSTS, (made,), 2, [ReplaceRules("hosts", (host(1, "next", line=1),))]).rules
    assert made.rule.span is None


# ---- order


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_an_order_of_short_stretches_is_that_of_a_list(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_order, "_MOST", 4)
        file = [LiveRule(id, "file", port(id), 0, id) for id in range(1, data.draw(st.integers(0, 9)) + 1)]
        order, plain = RuleOrder(file), list(file)
        out = []
        for id in range(100, 130):
            rule = LiveRule(id, "operator", port(id))
            first = next((i for i, each in enumerate(plain) if each.origin == "file"), len(plain))
            match data.draw(st.sampled_from(["last", "at", "before", "usual", "remove", "back"])):
                case "last":
                    order.append(rule)
                    plain.append(rule)
                case "at":
                    place = data.draw(st.integers(0, len(plain)))
                    order.insert_at(place, rule)
                    plain.insert(place, rule)
                case "before" if plain:
                    place = data.draw(st.integers(0, len(plain) - 1))
                    order.insert_before(plain[place].id, rule)
                    plain.insert(place, rule)
                case "remove" if plain:
                    gone = plain.pop(data.draw(st.integers(0, len(plain) - 1)))
                    order.remove(gone.id)
                    out += [gone] if gone.origin == "file" else []
                case "back" if out:
                    back = out.pop()
                    later = [i for i, r in enumerate(plain) if r.origin == "file" and (r.file_index or 0) > (back.file_index or 0)]
                    of_file = [i for i, r in enumerate(plain) if r.origin == "file"]
                    order.insert_of_file(back)
                    plain.insert(later[0] if later else of_file[-1] + 1 if of_file else len(plain), back)
                case _:
                    order.insert_usual(rule)
                    plain.insert(first, rule)
            assert [each.id for each in order] == [each.id for each in plain]
        places = [order.place(rule.id) for rule in plain]
        assert places == sorted(places)


def test_many_edits_may_ask_for_places() -> None:
    rules = edit_rules(ACL, (), 1, [AddRule("acl", port(number)) for number in range(20_000)]).rules
    edits: list[Edit] = []
    for number in range(10_000):
        edits.append(AddRule("acl", port(20_000 + number), at=number % 500 + 1))
        edits.append(DeleteRule("acl", id=number + 1))
        edits.append(AddRule("acl", port(30_000 + number), before=15_000))
    # Each of them through the whole order would take longer than a test may.
    assert len(edit_rules(ACL, rules, 20_001, edits).rules) == 30_000
