"""The parser: every construct of the language, where statements end, and places."""

from __future__ import annotations

import pytest

import pcnc_grammar
from pcnc import syntax
from pcnc.parse import parse
from pcnc.source import Source
from pcnc.syntax import (
    AddressLiteral,
    Assign,
    Binary,
    ConstDeclaration,
    Do,
    DurationLiteral,
    HeaderDeclaration,
    If,
    Let,
    Name,
    Number,
    PrefixLiteral,
    ServiceDeclaration,
    StringLiteral,
    TableDeclaration,
    TestDeclaration,
)
from tests.syntax_trees import expression, members, s, statements, tree

pytestmark = pytest.mark.text


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
