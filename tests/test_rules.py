"""Rules as they are written: read, held against one another, written again."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc.diagnostics import Severity
from pcnc.rule_check import check_rules, missing_columns
from pcnc.rule_reader import MOST_PROBLEMS, read_match, read_rules
from pcnc.rule_values import format_match, format_rule
from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, Parameter, Pattern, Rule, TableSchema
from pcnc.shadowing import covering_rules
from pcnc.source import Source
from pcnc.types import BOOL, DURATION, IPV4_ADDR, IPV6_ADDR, MAC_ADDR, Type, unsigned

pytestmark = pytest.mark.text

FLAGS = Type("tcp_flags", 8, "enum", (("fin", 1), ("syn", 2), ("ack", 16)))
PLAIN = (ActionSchema("drop"), ActionSchema("next"))
MARK = ActionSchema("mark", (Parameter("value", unsigned(8)), Parameter("where", IPV4_ADDR), Parameter("sure", BOOL)))

SOURCES = TableSchema("sources", (ColumnSchema("ipv4.src", "lpm", IPV4_ADDR),), (*PLAIN, MARK), False, 1 << 20)
FLOWS = TableSchema(
    "flows",
    (ColumnSchema("ipv4.src", "exact", IPV4_ADDR), ColumnSchema("l4.dport", "exact", unsigned(16))),
    PLAIN,
    False,
    100,
)
ACL = TableSchema(
    "acl",
    (
        ColumnSchema("ipv4.src", "prefix", IPV4_ADDR),
        ColumnSchema("ipv6.dst", "prefix", IPV6_ADDR),
        ColumnSchema("eth.src", "ternary", MAC_ADDR),
        ColumnSchema("ipv4.proto", "exact", unsigned(8), (("tcp", 6), ("udp", 17))),
        ColumnSchema("l4.sport", "range", unsigned(16), (("web", 80),)),
        ColumnSchema("l4.dport", "range", unsigned(16), (("web", 80),)),
        ColumnSchema("tcp.flags", "ternary", FLAGS, FLAGS.members),
        ColumnSchema("age", "range", DURATION),
        ColumnSchema("flag", "ternary", BOOL),
    ),
    (*PLAIN, MARK),
    True,
    1 << 20,
    (("limit", 5),),
)


def read(text: str, schema: TableSchema = SOURCES) -> list[Rule]:
    rules, problems = read_rules(Source("rules", text), schema)
    assert problems == []
    return rules


def refused(text: str, schema: TableSchema = SOURCES) -> list[str]:
    return [problem.name for problem in read_rules(Source("rules", text), schema)[1]]


def test_one_column_needs_no_name() -> None:
    assert read("10.0.0.0/8 -> drop\nipv4.src=10.0.0.1->next; * -> drop") == [
        Rule((MaskedValue(0x0A000000, 0xFF000000),), "drop"),
        Rule((MaskedValue(0x0A000001, 0xFFFFFFFF),), "next"),
        Rule((None,), "drop"),
    ]


def test_each_kind_has_its_patterns() -> None:
    (rule,) = read(
        "ipv4.proto=tcp, l4.sport=web, l4.dport=22..25, tcp.flags=0x02 &&& 0x12, eth.src=02:00:00:00:00:01,"
        "ipv6.dst=2001:db8::/32, ipv4.src=10.0.0.1, age=30s..1m, flag=true -> mark(limit, 10.0.0.1, false)",
        ACL,
    )
    assert rule.matches == (
        MaskedValue(0x0A000001, 0xFFFFFFFF),
        MaskedValue(0x20010DB8 << 96, 0xFFFFFFFF << 96),
        MaskedValue(0x020000000001, 0xFFFFFFFFFFFF),
        MaskedValue(6, 255),
        Interval(80, 80),
        Interval(22, 25),
        MaskedValue(2, 0x12),
        Interval(30 * 10**9, 60 * 10**9),
        MaskedValue(1, 1),
    )
    assert (rule.action, rule.arguments) == ("mark", (5, 0x0A000001, 0))


def test_names_and_joined_numbers_stand_for_values() -> None:
    assert read("tcp.flags=syn &&& (syn|ack) -> drop", ACL) == read("tcp.flags=2 &&& 0x12 -> drop", ACL)


def test_comments_blank_lines_and_continued_lines() -> None:
    rules = read(
        """
        # a comment with -> and ; inside
        ipv4.proto=tcp,      # goes on
            l4.dport=22      # and on
        -> drop
        """.replace("22      # and on\n        ->", "22 -> # and on\n       "),
        ACL,
    )
    assert [rule.action for rule in rules] == ["drop"]
    assert rules[0].matches[5] == Interval(22, 22)
    assert read("* -> mark(1,\n 10.0.0.1,\n true)", ACL)[0].arguments == (1, 0x0A000001, 1)
    assert read("") == read("  \n;;\n # nothing\n") == []


def test_spans_are_those_of_the_rules() -> None:
    text = "  10.0.0.0/8 -> drop   # why\n\t10.0.0.0/9->next;11.0.0.0/8 -> drop"
    assert [rule.span.text for rule in read(text) if rule.span] == ["10.0.0.0/8 -> drop", "10.0.0.0/9->next", "11.0.0.0/8 -> drop"]


def test_only_a_stretch_of_the_source_is_read() -> None:
    source = Source("file", "rules t { 10.0.0.0/8 -> drop } # 11.0.0.0/8 -> drop")
    rules, problems = read_rules(source, SOURCES, start=9, end=29)
    assert (len(rules), problems) == (1, [])
    assert rules[0].span is not None
    assert rules[0].span.start == 10


def test_every_bad_line_is_named() -> None:
    _, problems = read_rules(Source("rules", "10.0.0.0/8 -> drop\n10.0.0.1/8 -> drop\n10.0.0.0/8 -> jump\n1.2.3 -> drop"), SOURCES)
    assert [(p.name, p.span.line, p.span.text) for p in problems if p.span] == [
        ("bits-beyond-prefix", 2, "10.0.0.1/8"),
        ("action-not-in-table", 3, "jump"),
        ("malformed-literal", 4, "1.2.3"),
    ]
    assert "`10.0.0.0/8`" in problems[0].help


def test_of_many_bad_lines_some_are_told_and_the_rest_counted() -> None:
    rules, problems = read_rules(Source("rules", "x -> drop\n" * 1000 + "10.0.0.0/8 -> drop\n"), SOURCES)
    assert len(rules) == 1
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].name == "more-rule-problems"
    assert problems[-1].message.startswith("980 more")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.0.0.0/8", "malformed-rule"),
        ("-> drop", "malformed-rule"),
        ("10.0.0.0/8 ->", "malformed-rule"),
        ("10.0.0.0/8 -> drop()", ""),
        ("10.0.0.0/8 -> drop(1)", "wrong-argument-count"),
        ("10.0.0.0/8 -> mark(1, 10.0.0.1, true,)", ""),
        ("10.0.0.0/8 -> mark(256, 10.0.0.1, true)", "value-does-not-fit"),
        ("10.0.0.0/8 -> mark(10.0.0.1, 10.0.0.1, true)", "type-mismatch"),
        ("10.0.0.0/8 -> mark(1, 10.0.0.1, 1)", "type-mismatch"),
        ("2001:db8::/32 -> drop", "type-mismatch"),
        ("80 -> drop", "type-mismatch"),
        ("tcp -> drop", "unknown-name"),
        ("10.0.0.1..10.0.0.5 -> drop", "pattern-not-of-kind"),
        ("10.0.0.1 &&& 10.0.0.1 -> drop", "pattern-not-of-kind"),
        ("ipv4.dst=10.0.0.1 -> drop", "unknown-column"),
        ("ipv4.src=10.0.0.1, ipv4.src=10.0.0.2 -> drop", "given-twice"),
        ("10.0.0.1, -> drop", ""),
        ("10.0.0.1,, -> drop", "malformed-rule"),
        ("ipv4.src= -> drop", "malformed-rule"),
        ("10.0.0.0/33 -> drop", "malformed-literal"),
        ("010.0.0.1 -> drop", "malformed-literal"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    assert refused(text) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("22 -> drop", "column-name-missing"),
        ("l4.dport=25..22 -> drop", "empty-range"),
        ("l4.dport=22..65536 -> drop", "value-does-not-fit"),
        ("l4.dport=10.0.0.0/8 -> drop", "pattern-not-of-kind"),
        ("tcp.flags=0x12 &&& 0x02 -> drop", "bits-beyond-mask"),
        ("tcp.flags=sin -> drop", "unknown-name"),
        ("ipv4.proto=* -> drop", ""),
        ("age=5 -> drop", "type-mismatch"),
    ],
)
def test_what_an_ordered_table_refuses(text: str, problem: str) -> None:
    assert refused(text, ACL) == ([problem] if problem else [])


def test_exact_columns_of_unordered_tables_want_a_value() -> None:
    assert refused("* -> drop\nipv4.src=10.0.0.1 -> drop\nl4.dport=*, ipv4.src=10.0.0.1 -> drop", FLOWS) == 3 * [
        "star-in-exact-column"
    ]


def test_matches_are_read_alone() -> None:
    assert read_match("10.0.0.0/8", SOURCES) == ((MaskedValue(0x0A000000, 0xFF000000),), [])
    assert read_match(" * ", SOURCES) == ((None,), [])
    matches, problems = read_match("10.0.0.0/8 -> drop", SOURCES)
    assert (matches, [p.name for p in problems]) == (None, ["malformed-rule"])
    assert read_match("", SOURCES)[0] is None


# ---- back to text


def patterns(column: ColumnSchema) -> st.SearchStrategy[Pattern]:
    bits, top = column.type.bits, column.type.maximum
    values = st.integers(0, top)
    if column.kind == "range":
        return st.none() | st.tuples(values, values).map(lambda pair: Interval(min(pair), max(pair)))
    if column.kind in ("lpm", "prefix"):
        masks = st.integers(0, bits).map(lambda length: ((1 << length) - 1) << (bits - length))
    elif column.kind == "exact":
        masks = st.just(top)
    else:
        masks = values
    return st.none() | st.tuples(values, masks).map(lambda pair: MaskedValue(pair[0] & pair[1], pair[1]))


MARK_ARGUMENTS = st.tuples(st.integers(0, 255), st.integers(0, (1 << 32) - 1), st.integers(0, 1))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_what_is_written_reads_back(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from((SOURCES, ACL)))
    matches = tuple(data.draw(patterns(column)) for column in schema.columns)
    action = data.draw(st.sampled_from(schema.actions))
    rule = Rule(matches, action.name, data.draw(MARK_ARGUMENTS) if action.parameters else ())
    text = format_rule(rule, schema)
    assert read(text, schema) == [rule]
    assert format_rule(read(text, schema)[0], schema) == text
    assert read_match(format_match(matches, schema), schema) == (matches, [])


@given(st.text(alphabet="10.:/*,;=-> #\n()&|abctps\x00é{}", max_size=80))
@settings(max_examples=600, deadline=None)
def test_nothing_but_diagnostics_comes_of_noise(text: str) -> None:
    for schema in (SOURCES, FLOWS, ACL):
        rules, problems = read_rules(Source("noise", text), schema)
        check_rules(rules, schema)
        assert all(p.span is not None and 0 <= p.span.start <= p.span.end <= len(text) for p in problems)


# ---- rules among themselves


def test_the_same_match_twice_is_an_error_without_an_order() -> None:
    (problem,) = check_rules(read("10.0.0.0/8 -> drop\n10.0.0.0/9 -> drop\n10.0.0.0/8 -> drop"), SOURCES)
    assert (problem.name, problem.span and problem.span.line, problem.notes[0].span and problem.notes[0].span.line) == (
        "contradicting-rules",
        3,
        1,
    )


def test_a_covered_rule_is_a_warning_in_an_ordered_table() -> None:
    (problem,) = check_rules(read("l4.dport=1..9 -> drop\nl4.dport=2..9, ipv4.proto=tcp -> next", ACL), ACL)
    assert (problem.name, problem.severity) == ("shadowed-rule", Severity.WARNING)


def test_too_many_rules() -> None:
    rules = read("\n".join(f"ipv4.src=10.0.0.1, l4.dport={port} -> drop" for port in range(101)), FLOWS)
    assert [problem.name for problem in check_rules(rules, FLOWS)] == ["table-too-small"]
    assert check_rules(rules[:100], FLOWS) == []


def test_needs_are_met_by_one_column_of_each_group() -> None:
    needy = ActionSchema("shift", (), (("ipv4.src",), ("l4.sport", "l4.dport")))
    schema = TableSchema("acl", ACL.columns, (needy, *PLAIN), True, 100)
    rules = read("ipv4.src=0.0.0.0/0, l4.dport=1 -> shift\nl4.sport=1 -> shift\nipv4.src=1.0.0.0/8 -> shift\n* -> drop", schema)
    assert [missing_columns(rule, schema) for rule in rules] == [None, ("ipv4.src",), ("l4.sport", "l4.dport"), None]
    assert [p.name for p in check_rules(rules, schema) if p.is_error] == 2 * ["rule-needs-header"]


def covers(one: Pattern, other: Pattern) -> bool:
    match one, other:
        case None, _:
            return True
        case Interval(), Interval():
            return one.low <= other.low and other.high <= one.high
        case MaskedValue(), MaskedValue():
            return one.mask & other.mask == one.mask and other.value & one.mask == one.value
    return False


SMALL = TableSchema(
    "small",
    (
        ColumnSchema("a", "ternary", unsigned(3)),
        ColumnSchema("b", "range", unsigned(3)),
        ColumnSchema("c", "range", unsigned(3)),
        ColumnSchema("d", "range", unsigned(2)),
    ),
    PLAIN,
    True,
    1000,
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_covered_rules_are_those_that_an_earlier_one_covers(data: st.DataObject) -> None:
    matches = st.tuples(*(patterns(column) for column in SMALL.columns))
    rules = [Rule(m, "drop") for m in data.draw(st.lists(matches, max_size=25))]
    found = list(covering_rules(rules, SMALL))
    for rule, earlier in found:
        assert all(covers(a, b) for a, b in zip(earlier.matches, rule.matches, strict=True))
        assert any(earlier is other for other in rules[: next(i for i, r in enumerate(rules) if r is rule)])
    expected = [
        rule
        for index, rule in enumerate(rules)
        if any(all(covers(a, b) for a, b in zip(e.matches, rule.matches, strict=True)) for e in rules[:index])
    ]
    assert [id(rule) for rule, _ in found] == [id(rule) for rule in expected]


def test_many_rules_take_little_time() -> None:
    random = Random(1)
    text = "\n".join(
        f"ipv4.src={random.randrange(224)}.{random.randrange(256)}.0.0/16, l4.dport={port}..{port + 9} -> drop"
        for port in (random.randrange(60000) for _ in range(10_000))
    )
    start = time.process_time()
    rules = read(text, ACL)
    check_rules(rules, ACL)
    assert time.process_time() - start < 5


def test_reading_rules_loads_neither_grammar_nor_resolver() -> None:
    code = "import sys, pcnc.rule_check; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "pcnc.rule_reader" in loaded
    assert not loaded & {"lark", "networkx", "jinja2", "pcnc.syntax", "pcnc.resolve", "pcnc.program", "difflib"}
