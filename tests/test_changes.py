"""Files of changes: read, and everything that is wrong in them told; the texts in tests/ui/changes are what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc import change_problems
from pcnc.change_reader import Changes, read_changes
from pcnc.render import render
from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rule_reader import MOST_PROBLEMS
from pcnc.rule_values import format_match, format_rule
from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, Rule, TableSchema
from pcnc.source import Source
from pcnc.types import IPV4_ADDR, unsigned
from tests.test_rules import MARK, MARK_ARGUMENTS, PLAIN, patterns
from tests.test_ui import names_of_problems

pytestmark = pytest.mark.text

UI = Path(__file__).parent / "ui" / "changes"
NETS = TableSchema("nets", (ColumnSchema("ipv4.src", "lpm", IPV4_ADDR),), (*PLAIN, MARK), False, 1000)
ACL = TableSchema(
    "acl",
    (ColumnSchema("ipv4.src", "prefix", IPV4_ADDR), ColumnSchema("l4.dport", "range", unsigned(16), (("web", 80),))),
    (*PLAIN, MARK),
    True,
    1000,
)
PORTS = TableSchema(
    "ports", (ColumnSchema("l4.dport", "range", unsigned(16), (("last", 7), ("at", 8), ("id", 9))),), PLAIN, True, 10
)
NEEDY = TableSchema("needy", NETS.columns, (ActionSchema("shift", (), (("ipv4.src",),)), *PLAIN), True, 10)
SCHEMAS = (NETS, ACL, PORTS, NEEDY)


def read(text: str) -> Changes:
    return read_changes(Source("changes", text), SCHEMAS)


def edits(text: str) -> list[Edit]:
    found = read(text)
    assert found.problems == ()
    return list(found.edits)


def wrong(text: str) -> list[tuple[str, int, str]]:
    return [(each.name, each.span.line, each.span.text) for each in read(text).problems if each.span]


def net(octet: int, action: str = "drop") -> Rule:
    return Rule((MaskedValue(octet << 24, 0xFF000000),), action)


def port(number: int, action: str = "drop") -> Rule:
    return Rule((Interval(number, number),), action)


def test_one_change_a_line_in_the_order_written() -> None:
    assert edits(
        """
        # a comment { with a brace
        add nets 10.0.0.0/8 -> drop; add nets 11.0.0.0/8 -> next   # another }
        delete nets 10.0.0.0/8
        delete nets 11.0.0.0/8 -> next
        delete nets id 12
        flush nets
        """
    ) == [
        AddRule("nets", net(10)),
        AddRule("nets", net(11, "next")),
        DeleteRule("nets", match=net(10).matches),
        DeleteRule("nets", match=net(11).matches),
        DeleteRule("nets", id=12),
        FlushTable("nets"),
    ]
    assert edits("") == edits(" \n;;# nothing\n") == []


def test_places() -> None:
    assert edits("add acl before 7 l4.dport=22 -> drop\nadd acl at 1 l4.dport=web -> drop\nadd acl last * -> next") == [
        AddRule("acl", Rule((None, Interval(22, 22)), "drop"), before=7),
        AddRule("acl", Rule((None, Interval(80, 80)), "drop"), at=1),
        AddRule("acl", Rule((None, None), "next"), last=True),
    ]


def test_a_name_that_looks_like_a_place_is_a_name_where_a_rule_goes_on() -> None:
    assert edits(
        "add ports last -> drop\nadd ports last last -> drop\nadd ports at 1 at->drop\ndelete ports id\ndelete ports 80"
    ) == [
        AddRule("ports", port(7)),
        AddRule("ports", port(7), last=True),
        AddRule("ports", port(8), at=1),
        DeleteRule("ports", match=port(9).matches),
        DeleteRule("ports", match=port(80).matches),
    ]


def test_several_in_braces() -> None:
    assert edits(
        """replace nets {
            10.0.0.0/8 -> drop     # }
            11.0.0.0/8 -> next }
        add acl at 3 { l4.dport=1,
            ipv4.src=10.0.0.0/8 -> drop; l4.dport=2 -> drop
        } delete nets { id 4; 12.0.0.0/8
            13.0.0.0/8 -> drop } flush acl; replace ports {}
        """
    ) == [
        ReplaceRules("nets", (net(10), net(11, "next"))),
        AddRule("acl", Rule((net(10).matches[0], Interval(1, 1)), "drop"), at=3),
        AddRule("acl", Rule((None, Interval(2, 2)), "drop"), at=4),
        DeleteRule("nets", id=4),
        DeleteRule("nets", match=net(12).matches),
        DeleteRule("nets", match=net(13).matches),
        FlushTable("acl"),
        ReplaceRules("ports", ()),
    ]


def test_spans_are_those_of_the_changes() -> None:
    text = "  add nets 10.0.0.0/8 -> drop # why\ndelete nets { 11.0.0.0/8; id 3 }\n replace nets {12.0.0.0/8 -> drop}"
    spans = [edit.span.text for edit in edits(text) if edit.span]
    assert spans == ["10.0.0.0/8 -> drop", "11.0.0.0/8", "id 3", "replace nets"]


def test_everything_that_is_wrong_is_told() -> None:
    text = """ad nets 10.0.0.0/8 -> drop
add nest 10.0.0.0/8 -> drop
add nets 10.0.0.1/8 -> drop
10.0.0.0/8 -> drop
add nets 10.0.0.0/8 -> dorp
delete nets id x
add acl before l4.dport=1 -> drop
flush nets now
replace nets
{ 10.0.0.0/8 -> drop }
replace acl { l4.dport=1 -> drop; l4.dport=99999 -> drop }
add needy * -> shift
add nets
delete nets
}
add acl at 99999999999999999999 l4.dport=1 -> drop
add acl sometime { l4.dport=1 -> drop }
flush nets { }
add
delete nets {
    10.0.0.0/8
"""
    assert wrong(text) == [
        ("unknown-change", 1, "ad"),
        ("unknown-table", 2, "nest"),
        ("bits-beyond-prefix", 3, "10.0.0.1/8"),
        ("unknown-change", 4, "10.0.0.0/8"),
        ("action-not-in-table", 5, "dorp"),
        ("malformed-change", 6, "id x"),
        ("malformed-change", 7, "before l4.dport=1 -> drop"),
        ("malformed-change", 8, "now"),
        ("malformed-change", 9, "replace nets"),
        ("malformed-change", 10, "{"),
        ("value-does-not-fit", 11, "99999"),
        ("rule-needs-header", 12, "* -> shift"),
        ("malformed-change", 13, "add nets"),
        ("malformed-change", 14, "delete nets"),
        ("malformed-change", 15, "}"),
        ("malformed-change", 16, "at 99999999999999999999 l4.dport=1 -> drop"),
        ("malformed-change", 17, "sometime"),
        ("malformed-change", 18, "{"),
        ("malformed-change", 19, "add"),
        ("malformed-change", 20, "{"),
    ]
    assert [each.help for each in read(text).problems[:2]] == ["did you mean `add`?", "did you mean `nets`?"]


def test_what_could_not_be_read_is_known_by_its_match() -> None:
    assert read("add nets 10.0.0.0/8 -> dorp\nadd nets 1/2 -> drop").unread == {("nets", net(10).matches)}


def test_of_many_problems_some_are_told_and_the_rest_counted() -> None:
    found = read("add nets 10.0.0.0/8 -> drop\n" + "bad\n" * 1000)
    assert (len(found.edits), len(found.problems), found.more) == (1, MOST_PROBLEMS, 1000 - MOST_PROBLEMS)
    assert found.more_at is not None
    assert found.more_at.line == MOST_PROBLEMS + 2


# ---- any text


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_written_reads_back(data: st.DataObject) -> None:
    wanted: list[Edit] = []
    lines: list[str] = []
    for _ in range(data.draw(st.integers(0, 6))):
        schema = data.draw(st.sampled_from((NETS, ACL)))

        def rule(schema: TableSchema = schema) -> Rule:
            action = data.draw(st.sampled_from(schema.actions))
            arguments = data.draw(MARK_ARGUMENTS) if action.parameters else ()
            return Rule(tuple(data.draw(patterns(column)) for column in schema.columns), action.name, arguments)

        name = schema.name
        match data.draw(st.sampled_from(["add", "before", "at", "last", "delete", "id", "replace", "flush"])):
            case "add":
                wanted.append(AddRule(name, made := rule()))
                lines.append(f"add {name} {format_rule(made, schema)}")
            case "before":
                wanted.append(AddRule(name, made := rule(), before=3))
                lines.append(f"add {name}  before 3\t{format_rule(made, schema)}")
            case "at":
                wanted.append(AddRule(name, made := rule(), at=3))
                lines.append(f"add {name} at 3 {{ {format_rule(made, schema)} }}")
            case "last":
                wanted.append(AddRule(name, made := rule(), last=True))
                lines.append(f"add {name} last {format_rule(made, schema)}")
            case "delete":
                wanted.append(DeleteRule(name, match=(made := rule()).matches))
                lines.append(f"delete {name} {format_match(made.matches, schema)}")
            case "id":
                wanted.append(DeleteRule(name, id=9))
                lines.append(f"delete {name} id 9")
            case "replace":
                rules = [rule() for _ in range(data.draw(st.integers(0, 3)))]
                wanted.append(ReplaceRules(name, tuple(rules)))
                body = data.draw(st.sampled_from(["; ", "\n", " # }\n"])).join(format_rule(each, schema) for each in rules)
                lines.append(f"replace {name} {{\n{body} \n}}")
            case _:
                wanted.append(FlushTable(name))
                lines.append(f"flush {name}")
    assert edits(data.draw(st.sampled_from(["\n", ";", " ; # {\n\n"])).join(lines)) == wanted


WORDS = st.sampled_from(
    "add|delete|replace|flush|nets|acl|ports|before|at|last|id|7|{|}|->|drop|*|10.0.0.0/8|l4.dport=1|,|;|\n|#|(|)|=|"
    "99999999999999999999|é|\x00|&&&|..".split("|")
)


@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text(alphabet="ad nets{}#\n;->10./8*(),=\x00é", max_size=80))
@settings(max_examples=800, deadline=None)
def test_nothing_but_diagnostics_comes_of_noise(text: str) -> None:
    found = read(text)
    assert all(p.span is not None and 0 <= p.span.start <= p.span.end <= len(text) for p in found.problems)
    assert all(edit.span is not None and edit.span.text in text for edit in found.edits)
    render(found.problems)


def test_a_hundred_thousand_changes() -> None:
    lines = [f"add nets {number >> 8 & 255}.{number & 255}.{number >> 16}.0/24 -> drop" for number in range(100_000)]
    assert len(edits("\n".join(lines))) == 100_000
    assert len(edits("\n".join(f"delete nets {{ {line[9:]} }}" for line in lines[:1000]))) == 1000


# ---- wording


@pytest.mark.parametrize("path", sorted(UI.glob("*.changes")), ids=lambda path: path.stem)
def test_what_is_told(path: Path) -> None:
    found = read_changes(Source(path.name, path.read_text(encoding="utf-8")), SCHEMAS)
    problems = [*found.problems, *([change_problems.more_change_problems(found.more, found.more_at)] if found.more else [])]
    assert path.stem in {problem.name for problem in problems}
    told = render(problems, colour=False)
    expected = path.with_suffix(".stderr")
    if os.environ.get("PCNC_BLESS") == "1":
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")


def test_every_problem_has_a_file() -> None:
    assert {path.stem for path in UI.glob("*.changes")} == names_of_problems(change_problems)
    assert {path.stem for path in UI.glob("*.stderr")} == names_of_problems(change_problems)
