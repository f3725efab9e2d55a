"""The parser: every construct of the language, where statements end, places, and every problem with its remedy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import lark
import pytest

import pcnc_grammar
from pcnc import syntax
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.parse import parse, parse_prelude
from pcnc.source import Source
from pcnc.syntax import (
    AddressLiteral,
    Assign,
    Attribute,
    Binary,
    Call,
    ConstDeclaration,
    Do,
    DurationLiteral,
    Expression,
    HeaderDeclaration,
    If,
    Index,
    Let,
    Masked,
    Name,
    Number,
    PrefixLiteral,
    Range,
    ServiceDeclaration,
    Statement,
    StringLiteral,
    TableDeclaration,
    TestDeclaration,
    Tuple,
    Unary,
)

pytestmark = pytest.mark.text

ROOT = Path(__file__).parent.parent


def tree(text: str) -> syntax.File:
    return parse(Source("test.pcn", text))


def expression(text: str) -> Expression:
    item = tree(f"const x = {text}\n").items[0]
    assert isinstance(item, ConstDeclaration)
    return item.value


def members(text: str) -> tuple[syntax.Member, ...]:
    item = tree(f"service s {{\n{text}\n}}\n").items[0]
    assert isinstance(item, ServiceDeclaration)
    return item.members


def statements(text: str) -> tuple[Statement, ...]:
    chain = members(f"chain ingress {{\n{text}\n}}")[0]
    assert isinstance(chain, syntax.ChainDeclaration)
    return chain.body.statements


def problems(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        tree(text)
    return caught.value.diagnostics


def told(text: str) -> list[str]:
    """Each problem as `line:column name`."""
    return [f"{d.span.line}:{d.span.column} {d.name}" for d in problems(text) if d.span is not None]


def s(expression: object) -> str:
    """An expression with every pair of operands in parentheses."""
    match expression:
        case Name(text):
            return text
        case Number(value):
            return str(value)
        case Unary(operator, operand):
            return f"({operator} {s(operand)})"
        case Binary(operator, left, right):
            return f"({s(left)} {operator} {s(right)})"
        case Attribute(value, name):
            return f"{s(value)}.{name.text}"
        case Call(function, arguments):
            return f"{s(function)}({', '.join(map(s, arguments))})"
        case Index(value, index):
            return f"{s(value)}[{s(index)}]"
        case Range(low, high):
            return f"{s(low)}..{s(high)}"
        case Masked(value, mask):
            return f"{s(value)} &&& {s(mask)}"
        case Tuple(items):
            return f"<{', '.join(map(s, items))}>"
        case _:
            return repr(expression)


# ---- constructs


def test_an_empty_file() -> None:
    for text in ("", "\n\n", "# nothing", "\ufeff", "  \r\n\t\n;\n", "\ufeff# x\r\n"):
        assert tree(text).items == ()


def test_figure_one() -> None:
    (service,) = tree(
        """\
# Drop packets by source address, then by destination address.
service firewall {
    table sources {
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    64k
    }
    chain ingress {
        sources
    }
}
"""
    ).items
    assert isinstance(service, ServiceDeclaration)
    assert service.name.text == "firewall"
    table, chain = service.members
    assert isinstance(table, TableDeclaration)
    assert table.name.text == "sources"
    (column,) = table.columns
    assert (s(column.value), column.kind.text) == ("ipv4.src", "lpm")
    assert [a.text for a in table.actions] == ["drop", "next"]
    assert table.default == Name("next", table.span)
    assert table.order is None
    assert table.size == Number(65536, table.span)
    assert table.count == ()
    assert isinstance(chain, syntax.ChainDeclaration)
    assert [s(d.expression) for d in chain.body.statements if isinstance(d, Do)] == ["sources"]


def test_a_table_with_everything_in_any_order() -> None:
    (table,) = members(
        "table acl { order first; count packets, bytes; default note(3)\n"
        " match ipv4.src: prefix, l4.dport: range,\n  meta_value: ternary; action note }"
    )
    assert isinstance(table, TableDeclaration)
    assert [(s(c.value), c.kind.text) for c in table.columns] == [
        ("ipv4.src", "prefix"),
        ("l4.dport", "range"),
        ("meta_value", "ternary"),
    ]
    assert table.order is not None
    assert table.order.text == "first"
    assert [c.text for c in table.count] == ["packets", "bytes"]
    assert s(table.default) == "note(3)"
    assert members("table empty { }")[0] == members("table empty {\n\n}")[0]


def test_actions() -> None:
    plain, empty, full = members("action a { drop }\naction b() { }\naction c(x: u8, y: ipv4_addr,) { ipv4.src = y }")
    assert isinstance(plain, syntax.ActionDeclaration)
    assert isinstance(empty, syntax.ActionDeclaration)
    assert isinstance(full, syntax.ActionDeclaration)
    assert plain.parameters == empty.parameters == ()
    assert empty.body.statements == ()
    assert [(p.name.text, p.type.text) for p in full.parameters] == [("x", "u8"), ("y", "ipv4_addr")]


def test_declarations() -> None:
    a, b, c, d, e, f = members(
        "config a: u8\nconfig b: ipv4_addr = 10.0.0.1\nmeta c: bool\nconst d = 1; const e: u8 = 2\nenum f: u8 { x }"
    )
    assert isinstance(a, syntax.ConfigDeclaration)
    assert a.value is None
    assert isinstance(b, syntax.ConfigDeclaration)
    assert b.value == AddressLiteral("ipv4", 0x0A000001, b.span)
    assert isinstance(c, syntax.MetaDeclaration)
    assert c.type.text == "bool"
    assert isinstance(d, ConstDeclaration)
    assert d.type is None
    assert isinstance(e, ConstDeclaration)
    assert e.type is not None
    assert isinstance(f, syntax.EnumDeclaration)


@pytest.mark.parametrize("body", ["a, b = 4, c", "a\nb = 4\nc", "a,\n\n b = 4 # four\n c,", "a, b = 4\n c\n", "\na, b = 4, c,\n"])
def test_enums(body: str) -> None:
    (enum,) = tree(f"enum e: u8 {{{body}}}").items
    assert isinstance(enum, syntax.EnumDeclaration)
    assert [(m.name.text, s(m.value) if m.value else None) for m in enum.members] == [("a", None), ("b", "4"), ("c", None)]


def test_headers() -> None:
    (header,) = tree(
        """\
header probe[2]
    size 8 when previous.next == 44, (length + 2) * 4 when previous.next == 51, (length + 1) * 8
    after udp when udp.dport == 5, probe when probe.next == 6, tcp {
    size: u4; _: u4
    verify: u16
    checksum: u16
    opaque: ether_type
    verify verify == 3 and size > 1
    extent size + 8
    opaque when opaque != 0
    checksum checksum covers header, payload, pseudo optional
}
"""
    ).items
    assert isinstance(header, HeaderDeclaration)
    assert (header.name.text, header.depth) == ("probe", 2)
    assert [(s(c.value), s(c.condition) if c.condition else None) for c in header.size] == [
        ("8", "(previous.next == 44)"),
        ("((length + 2) * 4)", "(previous.next == 51)"),
        ("((length + 1) * 8)", None),
    ]
    assert [(p.header.text, s(p.condition) if p.condition else None) for p in header.parents] == [
        ("udp", "(udp.dport == 5)"),
        ("probe", "(probe.next == 6)"),
        ("tcp", None),
    ]
    assert [(f.name.text, f.type.text) for f in header.fields] == [
        ("size", "u4"),
        ("_", "u4"),
        ("verify", "u16"),
        ("checksum", "u16"),
        ("opaque", "ether_type"),
    ]
    assert s(header.verify) == "((verify == 3) and (size > 1))"
    assert s(header.extent) == "(size + 8)"
    assert s(header.opaque) == "(opaque != 0)"
    assert header.checksum is not None
    assert header.checksum.field.text == "checksum"
    assert [c.text for c in header.checksum.covers] == ["header", "payload", "pseudo"]
    assert header.checksum.optional


def test_a_header_without_anything() -> None:
    (header,) = tree("header first { dst: mac_addr }").items
    assert isinstance(header, HeaderDeclaration)
    assert (header.depth, header.size, header.parents) == (1, (), ())
    assert (header.verify, header.extent, header.opaque, header.checksum) == (None, None, None, None)


def test_either() -> None:
    for body in ("tcp, udp", "tcp\nudp", "\ntcp,\nudp,\n"):
        (either,) = tree(f"either l4 {{{body}}}").items
        assert isinstance(either, syntax.EitherDeclaration)
        assert [m.text for m in either.members] == ["tcp", "udp"]


def test_rules_are_one_piece_of_text() -> None:
    body = '\n  10.0.0.0/8 -> drop # not here: }\n  a="}" -> next\n '
    rules, chain = members(f"rules sources {{{body}}} chain ingress {{ }}")
    assert isinstance(rules, syntax.RulesDeclaration)
    assert rules.table.text == "sources"
    assert rules.body.text == body
    assert isinstance(chain, syntax.ChainDeclaration)


def test_statements() -> None:
    found = statements(
        "sources; drop; mark(3, 4); ipv4.ttl -= 1\nx = 1; x += 1; x |= 1; x &= 1; x ^= 1\nlet y = 3\nstage z { next } if a { b }"
    )
    assert [type(f).__name__ for f in found] == ["Do"] * 3 + ["Assign"] * 6 + ["Let", "Stage", "If"]
    assert [f.operator for f in found if isinstance(f, Assign)] == ["-", "", "+", "|", "&", "^"]


def test_if_else() -> None:
    (first,) = statements("if a { b } else if c { d } else { e }")
    assert isinstance(first, If)
    assert first.otherwise is not None
    (second,) = first.otherwise.statements
    assert isinstance(second, If)
    assert s(second.condition) == "c"
    assert second.otherwise is not None
    assert second.otherwise.span.text == "{ e }"
    assert first.otherwise.span.text == "if c { d } else { e }"


def test_tests() -> None:
    (test,) = members(
        """
        test "near misses" {
            rules sources { 10.0.0.0/8 -> drop } external = 192.0.2.1
            send ingress: eth / vlan(id=3) / vlan / ipv4(src=10.1.2.3,
                ttl=3) /
                tcp(dport=80) / payload(100) / bytes("0a 0b") / truncate(40)
            expect drop
            expect next with ipv4.ttl == 63, eth.dst == 02:00:00:00:00:07
            expect sources[1].packets == 1
        }"""
    )
    assert isinstance(test, TestDeclaration)
    assert test.name.value == "near misses"
    rules, assign, send, drop, nxt, state = test.items
    assert isinstance(rules, syntax.RulesDeclaration)
    assert isinstance(assign, Assign)
    assert isinstance(send, syntax.Send)
    assert send.chain.text == "ingress"
    assert [layer.name.text for layer in send.layers] == ["eth", "vlan", "vlan", "ipv4", "tcp", "payload", "bytes", "truncate"]
    assert [(v.name.text, v.value) for v in send.layers[3].values] == [
        ("src", AddressLiteral("ipv4", 0x0A010203, send.span)),
        ("ttl", Number(3, send.span)),
    ]
    assert send.layers[6].arguments == (StringLiteral("0a 0b", send.span),)
    assert isinstance(drop, syntax.Expect)
    assert drop.conditions == ()
    assert isinstance(nxt, syntax.Expect)
    assert s(nxt.conditions[0]) == "(ipv4.ttl == 63)"
    assert isinstance(state, syntax.Expect)
    assert s(state.value) == "(sources[1].packets == 1)"


# ---- expressions


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("a or b and c", "(a or (b and c))"),
        ("not a and b", "((not a) and b)"),
        ("not a == b", "(not (a == b))"),
        ("not not a", "(not (not a))"),
        ("a | b ^ c & d", "(a | (b ^ (c & d)))"),
        ("a & 1 == 0", "((a & 1) == 0)"),
        ("a << 1 + 2", "(a << (1 + 2))"),
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b % c", "((a / b) % c)"),
        ("-a.b", "(- a.b)"),
        ("~-a", "(~ (- a))"),
        ("(a + b) * c", "((a + b) * c)"),
        ("u16(a.b[1].c)", "u16(a.b[1].c)"),
        ("f()", "f()"),
        ("f(a, b,)", "f(a, b)"),
        ("a in 80..90", "(a in 80..90)"),
        ("a in 2 &&& 18", "(a in 2 &&& 18)"),
        ("a in b + 1..c | 3", "(a in (b + 1)..(c | 3))"),
        ("a in (tcp, udp)", "(a in <tcp, udp>)"),
        ("a in (80, 90..100, 2 &&& 18)", "(a in <80, 90..100, 2 &&& 18>)"),
        ("a in (80..90)", "(a in <80..90>)"),
        ("a in (b)", "(a in b)"),
        ("a in (b + 1) * 2", "(a in ((b + 1) * 2))"),
        ("not a in (1, 2)", "(not (a in <1, 2>))"),
        ("a < b and c >= d or e != f", "(((a < b) and (c >= d)) or (e != f))"),
        ("true", "true"),
    ],
)
def test_how_operators_bind(text: str, grouped: str) -> None:
    assert s(expression(text)) == grouped


def test_literals() -> None:
    at = tree("").span
    assert expression("0x800") == Number(0x800, at)
    assert expression("64k") == Number(65536, at)
    assert expression("5ms") == DurationLiteral(5_000_000, at)
    assert expression("10.0.0.1") == AddressLiteral("ipv4", 0x0A000001, at)
    assert expression("2001:db8::1") == AddressLiteral("ipv6", (0x20010DB8 << 96) + 1, at)
    assert expression("::") == AddressLiteral("ipv6", 0, at)
    assert expression("::ffff:10.0.0.1") == AddressLiteral("ipv6", 0xFFFF0A000001, at)
    assert expression("1:2:3:4:5:6:7:8") == AddressLiteral("ipv6", 0x00010002000300040005000600070008, at)
    assert expression("02:00:00:00:00:01") == AddressLiteral("mac", 0x020000000001, at)
    assert expression("10.0.0.0/8") == PrefixLiteral("ipv4", 0x0A000000, 8, at)
    assert expression("10.0.0.1/8") == PrefixLiteral("ipv4", 0x0A000001, 8, at)
    assert expression("2001:db8::/32") == PrefixLiteral("ipv6", 0x20010DB8 << 96, 32, at)
    assert expression("::/0") == PrefixLiteral("ipv6", 0, 0, at)
    assert expression("::ffff:10.0.0.0/104") == PrefixLiteral("ipv6", 0xFFFF0A000000, 104, at)
    assert expression('"a # b"') == StringLiteral("a # b", at)
    assert s(expression("10 / 8")) == s(expression("10/8")) == "(10 / 8)"
    assert s(expression("a in ::1..::5")).startswith("(a in AddressLiteral")
    assert s(expression("a in 10.0.0.1..10.0.0.5")).startswith("(a in AddressLiteral")


def test_words_of_the_language_are_names_elsewhere() -> None:
    assert s(expression("a.size.match.if")) == "a.size.match.if"
    (let,) = statements("let size = order + match.table")
    assert isinstance(let, Let)
    assert let.name.text == "size"
    assert s(let.value) == "(order + match.table)"
    (action,) = members("action rules(size: u8, default: u16) { }")
    assert isinstance(action, syntax.ActionDeclaration)
    assert [p.name.text for p in action.parameters] == ["size", "default"]
    (enum,) = tree("enum table: u8 { match, order = 3 }").items
    assert isinstance(enum, syntax.EnumDeclaration)
    (test,) = members('test "t" { send ingress: eth(size=3, match=4) }')
    assert isinstance(test, TestDeclaration)
    (send,) = test.items
    assert isinstance(send, syntax.Send)
    assert [v.name.text for v in send.layers[0].values] == ["size", "match"]
    assert [type(x).__name__ for x in statements("size = 3\norder\nx = 1")] == ["Assign", "Do", "Assign"]


# ---- where statements end


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a; b",
        "a;b;",
        ";;a;;b;;",
        "a # comment; }\nb",
        "a\r\nb\r\n",
        "\n\n  a  \n\n  # comment\n\n  b  \n",
    ],
)
def test_statements_end(text: str) -> None:
    assert len(statements(text)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "x = a +\n b",
        "x =\n a",
        "x +=\n a",
        "x = a and\n\n # comment\n b",
        "x = a in\n (1, 2)",
        "x = a in 1 ..\n 2",
        "x = a in 1 &&&\n 2",
        "x = (a\n+ b\n)",
        "f(\n1\n,\n2\n)",
        "f(1,\n2)",
        "x = a[\n1\n]",
        "x = a ==\n b",
        "x = a <<\n b",
        "x = a *\n b",
    ],
)
def test_statements_go_on(text: str) -> None:
    assert len(statements(text)) == 1


def test_a_brace_ends_a_statement() -> None:
    assert len(statements("if a { b } if c { d } e")) == 3
    assert len(tree("service a { } service b { } enum c: u8 { d } const e = 3").items) == 4


# ---- places


def test_places() -> None:
    text = 'service a {\n    const x = (b + 1) * c\n    chain ingress {\n        f(1)\n    }\n    test "t" { }\n}\n'
    (service,) = tree(text).items
    assert isinstance(service, ServiceDeclaration)
    assert service.span.text == text.rstrip()
    assert str(service.name.span) == "test.pcn:1:9"
    const, chain, test = service.members
    assert isinstance(const, ConstDeclaration)
    assert const.span.text == "const x = (b + 1) * c"
    assert (const.value.span.line, const.value.span.column) == (2, 15)
    assert const.value.span.text == "(b + 1) * c"
    assert isinstance(const.value, Binary)
    assert const.value.left.span.text == "(b + 1)"
    assert const.value.right.span.text == "c"
    assert isinstance(chain, syntax.ChainDeclaration)
    assert chain.body.span.text == "{\n        f(1)\n    }"
    (call,) = chain.body.statements
    assert (call.span.text, call.span.line, call.span.column) == ("f(1)", 4, 9)
    assert isinstance(test, TestDeclaration)
    assert test.name.span.text == '"t"'


def test_every_node_of_the_prelude_has_its_place() -> None:
    source = pcnc_grammar.prelude_source()
    file = parse(source)

    def walk(node: object, inside: tuple[int, int]) -> int:
        if isinstance(node, tuple):
            return sum(walk(item, inside) for item in node)
        if not hasattr(node, "__dataclass_fields__") or isinstance(node, Source):
            return 0
        span = node.span  # type: ignore[attr-defined]  # every node has one
        assert inside[0] <= span.start < span.end <= inside[1], node
        fields = [name for name in node.__dataclass_fields__ if name != "span"]
        return 1 + sum(walk(getattr(node, name), (span.start, span.end)) for name in fields)

    assert walk(file.items, (0, len(source.text))) > 500


# ---- problems


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


# ---- the grammar and its cache


def test_every_terminal_is_named() -> None:
    parser = lark.Lark(pcnc_grammar.grammar_text(), parser="lalr", maybe_placeholders=False)
    assert not [t.name for t in parser.terminals if t.name.startswith("__")]


def test_the_grammar_has_no_conflicts(capfd: pytest.CaptureFixture[str]) -> None:
    level = lark.logger.level
    lark.logger.setLevel("DEBUG")
    try:
        lark.Lark(pcnc_grammar.grammar_text(), parser="lalr", maybe_placeholders=False, debug=True)
    finally:
        lark.logger.setLevel(level)
    assert "onflict" not in capfd.readouterr().err


def test_the_prelude() -> None:
    file = parse_prelude()
    assert file == parse(pcnc_grammar.prelude_source())
    headers = [item.name.text for item in file.items if isinstance(item, HeaderDeclaration)]
    assert headers == ["eth", "vlan", "arp", "ipv4", "ipv6", "ipv6_ext", "tcp", "udp", "icmp", "icmpv6"]


READ_FIREWALL = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/grammar"]
from pcnc.parse import parse, parse_prelude
from pcnc.source import Source
print(len(parse(Source("x", "service s {{ chain ingress {{ drop }} }}")).items), len(parse_prelude().items) > 10)
"""


def start(cache: Path | str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), **more}
    return subprocess.run(
        [sys.executable, "-c", READ_FIREWALL.format(root=str(ROOT))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def expect_it_works(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 True\n", "")


def test_the_cache_is_made_and_used(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    made = sorted((tmp_path / "pcnc").iterdir())
    assert [path.name.split("-")[0] for path in made] == ["grammar", "prelude"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in made)
    times = [path.stat().st_mtime_ns for path in made]
    expect_it_works(start(tmp_path))
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "pcnc").iterdir())] == times


@pytest.mark.parametrize("content", [b"", b"noise", b"\x80\x04N.", b"\x80\x04]\x94."])
def test_a_damaged_cache_is_passed_over(tmp_path: Path, content: bytes) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        path.write_bytes(content)
    expect_it_works(start(tmp_path))


def test_a_cache_cut_short_is_passed_over(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    expect_it_works(start(tmp_path))


def test_a_cache_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        # Reading this would end the process.
        path.write_bytes(b"cposix\n_exit\n(I3\ntR.")
        path.chmod(0o666)
    expect_it_works(start(tmp_path))


def test_without_a_place_for_the_cache(tmp_path: Path) -> None:
    expect_it_works(start("/proc/nowhere"))
    (tmp_path / "file").write_text("")
    expect_it_works(start(tmp_path / "file"))
    expect_it_works(start("relative", HOME=str(tmp_path)))
    assert (tmp_path / ".cache" / "pcnc").is_dir()


def test_a_thousand_lines_are_read_fast() -> None:
    """400 ms are wanted; the test lets a loaded machine have three times as many."""
    lines = ["service big {"]
    for i in range(83):
        lines += [
            f"    table t{i} {{",
            "        match   ipv4.src: lpm, tcp.dport: exact",
            f"        action  drop, next, mark{i}",
            "        default next",
            "    }",
            f"    action mark{i}(a: u8, b: u16) {{",
            "        if tcp and tcp.dport in (80, 443, 8000..8100) {",
            f"            let x{i} = (a + 3) * 4 & 0xff",
            f"            if x{i} == 4 or ipv4.src in 10.0.0.0/8 {{ drop }} else {{ m = x{i} }}",
            "        }",
            "    }",
            f"    rules t{i} {{ 10.0.0.0/8, tcp.dport=80 -> drop }}",
        ]
    text = "\n".join([*lines, "}", ""])
    assert text.count("\n") > 990
    tree("")
    begin = time.perf_counter()
    tree(text)
    assert time.perf_counter() - begin < 1.2
