"""What the parser says: every problem with its remedy, all of a file at once, none twice."""

from __future__ import annotations

import pytest

from tests.syntax_trees import problems, told, tree

pytestmark = pytest.mark.text


@pytest.mark.parametrize(
    ("text", "expected", "words"),
    [
        ("service s {\n tabel x { }\n}", ["2:2 misspelt-word"], "did you mean `table`?"),
        ("servce s { }", ["1:1 misspelt-word"], "did you mean `service`?"),
        ("service s {\n chain ingress {\n  iff x { drop }\n }\n}", ["3:3 misspelt-word"], "did you mean `if`?"),
        ("header h aftr eth { x: u8 }", ["1:10 misspelt-word"], "did you mean `after`?"),
        ("service s {\n chain ingress { x @ y }\n}", ["2:20 unexpected-character"], "unexpected character `@`"),
        ("service s {\n chain ingress { if !x { } }\n}", ["2:21 unexpected-character"], "write `not`"),
        ("const x = \u201ca\u201d", ["1:11 unexpected-character"], "straight double quotes"),
        ("const x = \u00e9", ["1:11 unexpected-character"], "letters a to z"),
        ("const x =\u00a01", ["1:10 unexpected-character"], "U+00A0"),
        ("const x = 1 \x00", ["1:13 unexpected-character"], "U+0000"),
        ('const x = "abc\nconst y = 1', ["1:11 unterminated-string"], "this string does not end"),
        ('service s {\n test "abc {\n  expect drop\n }\n}', ["2:7 unterminated-string"], ""),
        ("service s {\n chain ingress {\n  drop\n", ["3:7 unclosed-brace"], "the `{` opened here is not closed"),
        ("service s {\n table t {\n  size 3\n\n chain ingress { }\n}", ["5:2 unclosed-brace"], "missing before `chain`"),
        ("service s {\n rules t {\n  1 -> drop\n\n chain ingress { }\n}", ["5:2 unclosed-brace"], "missing before `chain`"),
        ("service s {\n rules t {\n  1 -> drop\n", ["3:12 unclosed-brace"], "before the end of the file"),
        ('service s {\n rules t { a = "b }\n }\n}', ["2:16 unterminated-string"], ""),
        ("service s {\n rules t { a { b } }\n}", ["2:14 unexpected-token"], "expected a rule or `}`, found `{`"),
        ("service s {\n chain ingress {\n  f(1\n  drop\n }\n}", ["4:3 unclosed-parenthesis"], "`)` is missing before `drop`"),
        ("service s {\n chain ingress {\n  x = a[1\n }\n}", ["4:2 unclosed-parenthesis"], "`]` is missing before `}`"),
        ("const x = (1", ["1:13 unclosed-parenthesis"], "before the end of the file"),
        ("service s { }\n}", ["2:1 unmatched-brace"], "closes nothing"),
        ("service s\n{\n}", ["2:1 misplaced-brace"], "end of the line before"),
        ("service s {\n chain ingress\n {\n drop }\n}", ["3:2 misplaced-brace"], ""),
        ("service s { chain ingress { if x\n { drop } } }", ["2:2 misplaced-brace"], ""),
        ("service s { chain ingress {\n if x { drop }\n else { next }\n } }", ["3:2 misplaced-else"], "`} else {`"),
        ("service s { chain ingress {\n if x { drop }\n else if y { next }\n } }", ["3:2 misplaced-else"], ""),
        ("service s { chain ingress { else { } } }", ["1:34 unexpected-token"], "`else` stands on the line"),
        ("service s { chain ingress { if x = 3 { } } }", ["1:34 unexpected-token"], "`==` compares"),
        ("service s { chain ingress { if x && y { } } }", ["1:35 unexpected-token"], "write `and`"),
        ("service s { chain ingress { if x || y { } } }", ["1:35 unexpected-token"], "write `or`"),
        ("const x = a < b < c", ["1:17 unexpected-token"], "comparisons do not chain"),
        ("const x = a not in b", ["1:13 unexpected-token"], "`not x in y`"),
        ("service s { chain ingress { if x { } elif y { } } }", ["1:43 unexpected-token"], "write `else if`"),
        ("const x = 80..90", ["1:13 unexpected-token"], ""),
        ("const x = 10.0.0.300", ["1:11 malformed-literal"], "`300` is more than 255"),
        ("const x = 10.0.0.0/40", ["1:11 malformed-literal"], "at most 32 bits"),
        ("const x = ::/129", ["1:11 malformed-literal"], "at most 128 bits"),
        ("const x = 1_", ["1:11 malformed-literal"], "ends with `_`"),
        ("const x = 0x", ["1:11 malformed-literal"], "digits must follow `0x`"),
        ("const x = 010", ["1:11 malformed-literal"], "begins with a zero"),
        ("const x = 12q", ["1:11 malformed-literal"], "is not a number"),
        ("const x = 1.5", ["1:11 malformed-literal"], "all numbers are whole"),
        ("const x = 10.0.0", ["1:11 malformed-literal"], "four numbers"),
        ("const x = 1::2::3", ["1:11 malformed-literal"], "IPv6"),
        ("const x = 02:00:00:00:00", ["1:11 malformed-literal"], "neither a MAC nor an IPv6 address"),
        ("const x = 999999999999999999999999999999999999999999", ["1:11 malformed-literal"], "128 bits"),
        ("const x = 99999999999h", ["1:11 malformed-literal"], "64 bits"),
        ("service s { table t { size 1_ } }", ["1:28 malformed-literal"], ""),
        ("service s { table t {\n size 1\n size 2\n } }", ["3:2 duplicate-clause"], "leave one of them out"),
        ("service s { table t {\n match a: lpm\n match b: lpm\n } }", ["3:2 duplicate-clause"], "separated by commas"),
        ("header h {\n x: u8\n verify x == 1\n verify x == 2\n}", ["4:2 duplicate-clause"], "second time"),
        ("header h[0] { x: u8 }", ["1:10 zero-depth"], "at least 1"),
        ("const x =", ["1:10 unexpected-token"], "expected a value, found the end of the file"),
        ("const = 3", ["1:7 unexpected-token"], "expected a name, found `=`"),
        ("service s { chain ingress drop }", ["1:27 unexpected-token"], "expected `{`, found `drop`"),
        ("service s { chain ingress { a b } }", ["1:31 unexpected-token"], "expected an operator or"),
        ("service s {\n drop\n}", ["2:2 unexpected-token"], "here stands `action`, `chain`"),
        ("service s { enum e: u8 { } }", ["1:26 unexpected-token"], "expected a name, found `}`"),
        ("service s { test t { } }", ["1:18 unexpected-token"], "expected a string"),
        ('service s { test "t" { send ingress: eth / } }', ["1:44 unexpected-token"], "expected a name"),
    ],
)
def test_problems(text: str, expected: list[str], words: str) -> None:
    assert told(text) == expected
    (problem,) = problems(text)
    said = " ".join([problem.message, problem.help, *(note.message for note in problem.notes)])
    assert words in said
    assert problem.message[0] == problem.message[0].lower()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("service s {\n map m: u8 -> u8 { size 1; evict lru }\n}", "`map`"),
        ("service s {\n group g of x { groups 1 }\n}", "`group`"),
        ("service s {\n meter m: u8 { rate 1000/s; burst 10 }\n}", "`meter`"),
        ("service s {\n counter c\n}", "`counter`"),
        ("service s {\n event e(a: u8)\n}", "`event`"),
        ("service s {\n use conntrack\n}", "`use`"),
        ("service s {\n function f(a: u8) -> u8 { return a }\n}", "`function`"),
        ("service s {\n struct x { a: u8; b: u16 }\n}", "`struct`"),
        ("service s {\n port a, b\n}", "`port`"),
        ("service s {\n ports 64 { mac: mac_addr }\n}", "`ports`"),
        ("service s {\n chain * { drop }\n}", "a chain between ports"),
        ("service s {\n chain a -> b { drop }\n}", "a chain between ports"),
        ("service s {\n chain a <-> b { drop }\n}", "a chain between ports"),
        ("service s {\n config c: (u8, u16)\n}", "a tuple"),
        ("service s {\n table t {\n  evict lru\n }\n}", "`evict`"),
        ("module m {\n meta x: u8\n}", "`module`"),
        ('import "x.pcn"', "`import`"),
        ("network n {\n service a = b { rules t { x } }\n link a <-> b { mac = 1 }\n}", "`network`"),
        ("header h {\n x: u8 when y\n}", "a field that is there only sometimes"),
        ("service s { chain ingress {\n for i in 0..3 { x = i }\n} }", "`for`"),
        ("service s { chain ingress {\n push vlan { id = 7 }\n} }", "`push`"),
        ("service s { chain ingress {\n pop vlan\n} }", "`pop`"),
        ("service s { chain ingress {\n delete m[k]\n} }", "`delete`"),
        ("service s { chain ingress {\n update m[k] { x = 1 }\n} }", "`update`"),
        ("service s { chain ingress {\n emit e(1)\n} }", "`emit`"),
        ("service s { chain ingress {\n return x\n} }", "`return`"),
        ("service s { chain ingress {\n let v = m[k] else drop\n} }", "a `let` with `else`"),
        ("service s { chain ingress {\n let v = m[k] else {\n delete m[k]\n drop\n}\n} }", "a `let` with `else`"),
        ('service s { test "t" {\n wait 3s\n} }', "`wait`"),
        ('service s { test "t" {\n port lan { mac = 3 }\n} }', "`port`"),
    ],
)
def test_what_later_versions_have(text: str, what: str) -> None:
    (problem,) = problems(text)
    assert problem.name == "not-in-this-version"
    assert problem.message == f"{what} is not part of this version"


def test_all_problems_are_found_at_once() -> None:
    assert told(
        """\
service s {
    tabel t {
        mtch    ipv4.src: lpm
        foo bar
        baz qux
        size    64k_
    }
    map m: u8 -> u8 { size 1 }
    chain ingress
    {
        iff ipv4 { drop }
        if x = 3 { drop }
        a b
        if ipv4 {
            f(1,
                2
            drop
        }
        else { next }
        ipv4.src = 10.0.0.300
    }
    test "t" {
        send ingress eth / ipv4
        expects drop
        wait 3s
    }
}
struct x { a: u8 }
"""
    ) == [
        "2:5 misspelt-word",
        "3:9 misspelt-word",
        "4:9 unexpected-token",
        "5:9 unexpected-token",
        "6:17 malformed-literal",
        "8:5 not-in-this-version",
        "10:5 misplaced-brace",
        "11:9 misspelt-word",
        "12:14 unexpected-token",
        "13:11 unexpected-token",
        "17:13 unclosed-parenthesis",
        "19:9 misplaced-else",
        "20:20 malformed-literal",
        "23:22 unexpected-token",
        "24:9 misspelt-word",
        "25:9 not-in-this-version",
        "28:1 not-in-this-version",
    ]


@pytest.mark.parametrize(
    "line",
    ["service everything {", "table acl {", "stage check {", "chain ingress {", "if tcp {", 'test "a test" {', "rules acl {"],
)
def test_a_lost_brace_is_one_problem(line: str) -> None:
    text = """\
service everything {
    table acl {
        match   ipv4.src: lpm
        action  next, drop
    }
    rules acl {
        10.0.0.0/8 -> drop
    }
    stage check {
        drop
    }
    chain ingress {
        if tcp {
            check
        }
        acl
    }
    test "a test" {
        send ingress: eth
        expect next
    }
}
"""
    tree(text)
    lost = text.replace(line, line.removesuffix(" {"))
    (problem,) = problems(lost)
    assert "expected `{`" in problem.message


def test_the_body_of_a_head_that_cannot_be_read_is_passed_over() -> None:
    assert told("service s {\n chain ingress 3 {\n  a b\n  c d\n }\n chain egress {\n  e f\n }\n}") == [
        "2:16 unexpected-token",
        "7:5 unexpected-token",
    ]
    assert told('service s {\n test t" {\n  expect drop\n }\n meta m: 3\n}') == ["2:7 unexpected-token", "5:10 unexpected-token"]


def test_indentation_shows_which_brace_is_missing() -> None:
    (problem,) = problems("service a {\n    chain ingress {\n        if x { drop\n    }\n}\n")
    assert problem.name == "unclosed-brace"
    assert [(n.span.line, n.span.column) for n in problem.notes if n.span is not None] == [(1, 11), (3, 14)]


def test_twenty_problems_are_enough() -> None:
    assert len(problems("service s {\n" + " a b\n" * 100 + "}\n")) == 20
    assert len(problems("service s { chain ingress {\n" + " x = 1_\n" * 100 + "} }\n")) == 20
