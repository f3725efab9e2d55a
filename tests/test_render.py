"""Diagnostics as people and as editors read them."""

from __future__ import annotations

import json

import pytest

from pcnc.diagnostics import Diagnostic, Note, Severity
from pcnc.render import render, to_json
from pcnc.source import Source, Span

pytestmark = pytest.mark.text


def at(text: str, marked: str, path: str = "a.pcn") -> Span:
    start = text.index(marked)
    return Span(Source(path, text), start, start + len(marked))


def test_the_whole_of_it() -> None:
    text = "service s {\n    chain ingress { if tpc { drop } }\n}\n"
    span = at(text, "tpc")
    note = Note("the service is here", at(text, "service s"))
    problem = Diagnostic(
        "unknown-name", "there is no `tpc` here", span, label="not a header", help="did you mean `tcp`?", notes=(note,)
    )
    assert render([problem]) == (
        "error[unknown-name]: there is no `tpc` here\n"
        " --> a.pcn:2:24\n"
        "  |\n"
        "2 |     chain ingress { if tpc { drop } }\n"
        "  |                        ^^^ not a header\n"
        "  = help: did you mean `tcp`?\n"
        "note: the service is here\n"
        " --> a.pcn:1:1\n"
        "  |\n"
        "1 | service s {\n"
        "  | ---------\n"
    )


def test_between_two_is_a_blank_line() -> None:
    problem = Diagnostic("a", "b", None)
    assert render([problem, problem]) == "error[a]: b\n\nerror[a]: b\n"
    assert render([]) == ""


def test_warnings_and_colours() -> None:
    problem = Diagnostic("unused", "never used", at("abc", "b"), Severity.WARNING)
    assert render([problem]).startswith("warning[unused]: never used\n")
    assert "\x1b" not in render([problem])
    assert "\x1b[1;33mwarning[unused]\x1b[0m" in render([problem], colour=True)


def lines(text: str, marked: str) -> list[str]:
    return render([Diagnostic("x", "y", at(text, marked))]).splitlines()[3:5]


def test_the_caret_stands_below_what_is_meant() -> None:
    assert lines("\t\tab\tcd", "cd") == ["1 |   ab cd", "  |      ^^"]
    assert lines("日本 = tpc", "tpc") == ["1 | 日本 = tpc", "  |        ^^^"]
    assert lines("e\u0301 = tpc", "tpc") == ["1 | e\u0301 = tpc", "  |     ^^^"]
    assert lines("if {\n  drop\n}", "{\n  drop\n}") == ["1 | if {", "  |    ^…"]
    assert lines("abc\n", "\n") == ["1 | abc", "  |    ^…"]


def test_the_end_of_the_file_can_be_pointed_at() -> None:
    source = Source("a.pcn", "abc\n")
    assert " --> a.pcn:2:1\n" in render([Diagnostic("x", "y", Span(source, 4, 4))])
    assert "1 |\n  | ^\n" in render([Diagnostic("x", "y", Span(Source("a.pcn", ""), 0, 0))])


def test_of_a_long_line_the_stretch_around_the_caret_is_shown() -> None:
    text = "a" * 100_000 + "tpc" + "b" * 100_000
    shown, caret = lines(text, "tpc")
    assert len(shown) < 200
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "tpc"


def test_nothing_reaches_the_terminal_that_would_steer_it() -> None:
    text = "a\x1b[2J\x07 tpc"
    told = render([Diagnostic("x", "bad \x1b[31m", at(text, "tpc", path="evil\x1b.pcn"), help="\x9b1m")])
    assert all(char.isprintable() or char == "\n" for char in told)


def test_values_for_editors() -> None:
    text = "if {\n  drop\n}"
    problem = Diagnostic("x", "y", at(text, "{\n  drop\n}"), help="h", notes=(Note("n", None), Note("m", at(text, "drop"))))
    value = json.loads(json.dumps(to_json(problem)))
    assert value == {
        "file": "a.pcn",
        "line": 1,
        "column": 4,
        "end_line": 3,
        "end_column": 2,
        "name": "x",
        "severity": "error",
        "message": "y",
        "label": "",
        "help": "h",
        "notes": [
            {"message": "n", "file": None, "line": None, "column": None, "end_line": None, "end_column": None},
            {"message": "m", "file": "a.pcn", "line": 2, "column": 3, "end_line": 2, "end_column": 7},
        ],
    }
    assert to_json(Diagnostic("x", "y", None))["line"] is None
