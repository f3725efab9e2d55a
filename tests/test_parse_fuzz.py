"""Whatever text comes in, the parser gives a tree or diagnostics, and in bounded time."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc import syntax
from pcnc.build_syntax import BuildSyntax
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.parse import parse
from pcnc.source import Source
from pcnc_grammar import grammar_text, prelude_source

pytestmark = pytest.mark.text

PROGRAM = """\
# Everything that a service can hold.
service everything {
    config external: ipv4_addr = 10.0.0.1; meta mark: u8
    const limit = 100
    enum color: u8 { red, green = 3
        blue }
    table acl {
        match   ipv4.src: prefix, l4.dport: range, tcp.flags: ternary
        action  next, drop, note
        default drop
        order   first
        size    10k
        count   packets, bytes
    }
    action note(value: u8, from: ipv4_addr) { mark = value }
    rules acl {
        ipv4.src=10.0.0.0/8 -> drop   # }
        *                   -> note(3, 10.0.0.1)
    }
    stage check {
        if ipv4 and not (ipv4.src in 10.0.0.0/8) {
            let next_hop = (mark + 3) * 4 & 0xff | ~1
            ipv4.ttl -= 1
        } else if tcp.dport in (80, 90..100, 0x02 &&& 0x12) { drop } else { pass; }
    }
    chain ingress { check; if l4 { acl } }
    test "a test" {
        rules acl { * -> next }
        external = 192.0.2.1
        send ingress: eth / vlan(id=3) / ipv4(src=10.0.0.1,
            ttl=3) / tcp / payload(100)
        expect next with ipv4.ttl == 2, eth.dst == 02:00:00:00:00:07
        expect acl[1].packets == 1
    }
}
header probe[2] size 8 when previous.next == 44, (length + 1) * 8 after udp when udp.dport == 5, probe {
    next: u8; length: u8
    _: u16
    verify length > 0
    extent length
    opaque when next == 3
    checksum length covers header, pseudo optional
}
either l5 { probe, tcp }
"""

PIECES = [
    *"{ } ( ) [ ] , ; : . .. &&& & && | || ^ ^= ~ + += - -> <-> * / % = == != < <= << >> ! @ \" # \\ ' $".split(),
    *("\n", "\n", "\n", "\r\n", "\t", " ", "\ufeff", "\x00", "\u00e9"),
    *"service table chain stage action rules match default order size count if else let meta config const enum".split(),
    *"header either test send expect with when after verify extent opaque checksum covers optional not and or in".split(),
    *"true drop next pass ipv4 map group function for port ports tabel iff x y l4 tcp.dport ingress".split(),
    *"0 1 80 0x 0x8 1_ 1_0 64k 5ms 1.5 10.0.0.1 10.0.0.300 10.0.0.0/8 10.0.0.0/ ::1 1:2:3 ::/0 a::b:c".split(),
    *("02:00:00:00:00:01", '"text"', '"text', "# comment", "rules x {"),
]


def read(text: str) -> syntax.File | None:
    """Parses; the tree, or None where there are problems, which are looked at."""
    try:
        return parse(Source("fuzz.pcn", text))
    except CompileError as error:
        look_at(error.diagnostics, text)
        return None


def look_at(problems: tuple[Diagnostic, ...], text: str) -> None:
    """Every problem can be shown, and they stand in order."""
    assert 1 <= len(problems) <= 20
    for problem in problems:
        assert problem.is_error
        assert problem.message
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", problem.name)
        for span in (problem.span, *(note.span for note in problem.notes)):
            assert span is not None
            assert 0 <= span.start <= span.end <= len(text)
            assert span.line >= 1
            assert span.column >= 1
            assert len(span.source.line_text(span.line)) >= span.column - 1
    starts = [problem.span.start for problem in problems if problem.span is not None]
    assert starts == sorted(starts)


def test_the_program_is_valid() -> None:
    assert read(PROGRAM) is not None


@given(st.text(alphabet=st.characters()) | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Zs", "Nd", "Po"])))
@settings(max_examples=400, deadline=None)
def test_any_text(text: str) -> None:
    read(text)


@given(st.text(alphabet=st.sampled_from('{}()[]"#;:,.=&|<>-+*/~\n xif01a')))
@settings(max_examples=400, deadline=None)
def test_any_signs(text: str) -> None:
    read(text)


@given(st.lists(st.sampled_from(PIECES), max_size=60), st.sampled_from(["", " ", "\n"]))
@settings(max_examples=600, deadline=None)
def test_any_pieces(pieces: list[str], between: str) -> None:
    read(between.join(pieces))


@given(st.lists(st.sampled_from(PIECES), max_size=20))
@settings(max_examples=400, deadline=None)
def test_any_pieces_in_a_chain(pieces: list[str]) -> None:
    read("service s {\n    chain ingress {\n        " + " ".join(pieces) + "\n    }\n}\n")


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_mutated_programs(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([PROGRAM, prelude_source().text]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 5, 30]))
        put = data.draw(st.sampled_from(["", "", *PIECES]))
        text = text[:start] + put + text[start + length :]
    read(text)


@given(st.integers(0, len(PROGRAM)))
@settings(max_examples=200, deadline=None)
def test_programs_cut_short(length: int) -> None:
    read(PROGRAM[:length])


def test_one_missing_character_gives_few_problems() -> None:
    """Each problem is told once: hardly anything that only follows from another."""
    counts = []
    for i in range(0, len(PROGRAM), 3):
        try:
            parse(Source("fuzz.pcn", PROGRAM[:i] + PROGRAM[i + 1 :]))
        except CompileError as error:
            counts.append(len(error.diagnostics))
    assert sum(counts) / len(counts) < 1.25
    assert max(counts) <= 4


NOISE: dict[str, Callable[[random.Random, int], str]] = {
    "printable": lambda r, n: "".join(r.choices('abcdefxyz0123456789{}()[]"#;:,.=&|<>-+*/~ \n\n_', k=n)),
    "one line": lambda r, n: "".join(r.choices("abcdefxyz0123456789{}()[];:,.=&|<>-+*/~ _", k=n)),
    "bytes": lambda r, n: r.randbytes(n).decode("latin-1"),
    "colons": lambda r, n: "a:" * (n // 2),
    "many hex groups": lambda r, n: "abcd:" * (n // 5) + "ag",
    "double colons": lambda r, n: "::" * (n // 2),
    "dots": lambda r, n: "1." * (n // 2),
    "digits": lambda r, n: "9" * n,
    "letters": lambda r, n: "a" * n,
    "quotes": lambda r, n: '"' * n,
    "quotes in rules": lambda r, n: "service s { rules x {" + '"' * n,
    "newlines": lambda r, n: "\n" * n,
    "semicolons": lambda r, n: ";#" * (n // 2),
    "comments": lambda r, n: "#\n" * (n // 2),
    "parentheses": lambda r, n: "service s { chain ingress { x = " + "(" * n,
    "braces": lambda r, n: "{" * n,
    "closing braces": lambda r, n: "}\n" * (n // 2),
    "minus signs": lambda r, n: "const x = " + "-" * n,
    "nots": lambda r, n: "service s { chain ingress { if " + "not " * (n // 4),
    "a long sum": lambda r, n: "const x = 1" + " + 1" * (n // 4),
    "a long set": lambda r, n: "service s { chain ingress { if x in (1" + ", 1" * (n // 3) + ") { drop } } }",
    "attributes": lambda r, n: "const x = a" + ".a" * (n // 2),
    "ifs": lambda r, n: "service s { chain ingress {" + "if x {" * (n // 6),
    "else ifs": lambda r, n: "service s { chain ingress { if x { }" + " else if x { }" * (n // 14) + "} }",
    "statements": lambda r, n: "service s { chain ingress {" + "x\n" * (n // 2) + "} }",
    "bad statements": lambda r, n: "service s { chain ingress {" + "x y\n" * (n // 4) + "} }",
    "bad literals": lambda r, n: "service s { chain ingress {" + "x = 1_\n" * (n // 7) + "} }",
    "unknown characters": lambda r, n: "service s { chain ingress { x " + "@" * n,
    "services": lambda r, n: "service s { }\n" * (n // 14),
    "rules": lambda r, n: "service s { rules t {" + "10.0.0.0/8 -> drop\n" * (n // 19) + "} }",
    "open rules": lambda r, n: "service s { rules t {" + "10.0.0.0/8 -> drop\n" * (n // 19),
}


@pytest.mark.parametrize("kind", NOISE)
def test_ten_megabytes_in_bounded_time(kind: str) -> None:
    text = NOISE[kind](random.Random(1), 10_000_000)
    begin = time.process_time()
    read(text)
    assert time.process_time() - begin < 15


def test_deep_nesting_is_told() -> None:
    for text in (
        f"const x = {'(' * 3000}1{')' * 3000}",
        f"const x = {'-' * 3000}1",
        f"const x = 1{' + 1' * 3000}",
        f"const x = a{'.a' * 3000}",
        f"const x = {'not ' * 3000}a",
        f"service s {{ chain ingress {{ {'if x { ' * 3000}drop{' }' * 3000} }} }}",
        f"service s {{ chain ingress {{ if x {{ }}{' else if x { }' * 3000} }} }}",
    ):
        with pytest.raises(CompileError) as caught:
            parse(Source("deep.pcn", text))
        assert [d.name for d in caught.value.diagnostics] == ["nested-too-deeply"]


@pytest.mark.parametrize(
    "text",
    [
        f"const x = {'(' * 50}1{')' * 50}",
        f"const x = 1{' + 1' * 100}",
        f"service s {{ chain ingress {{ {'if x { ' * 40}drop{' }' * 40} }} }}",
        f"service s {{ chain ingress {{ if x {{ }}{' else if x { }' * 40} }} }}",
    ],
)
def test_what_people_write_is_not_too_deep(text: str) -> None:
    assert read(text) is not None


def test_a_tree_as_deep_as_allowed_can_be_walked() -> None:
    deepest = None
    for depth in range(100, 140):
        tree = read(f"const x = 1{' + 1' * depth}")
        deepest = tree if tree is not None else deepest
    assert deepest is not None
    assert "Binary" in repr(deepest)


def test_the_examples_are_valid() -> None:
    examples = sorted((Path(__file__).parent.parent / "examples").glob("*.pcn"))
    for example in examples:
        assert read(example.read_text(encoding="utf-8")) is not None, example


def test_no_rule_of_the_grammar_calls_an_inner_method() -> None:
    """The builder's methods are called by name: one for each rule, and no other."""
    text = grammar_text()
    rules = set(re.findall(r"^[?!]*([a-z_]+):", text, re.MULTILINE)) | set(re.findall(r"-> ([a-z_]+)", text))
    for rule in rules:
        if rule.startswith("_"):
            assert not hasattr(BuildSyntax, rule), rule
        elif not re.search(rf"^\?{rule}:", text, re.MULTILINE):
            assert callable(getattr(BuildSyntax, rule)), rule
