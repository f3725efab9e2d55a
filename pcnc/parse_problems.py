"""The wording of problems with syntax: one function a problem. The problem `unclosed-brace` is told by `unclosed_brace`."""

from __future__ import annotations

from collections.abc import Sequence

from pcnc.diagnostics import Diagnostic, Note
from pcnc.problems.names import not_in_this_version
from pcnc.problems.values import malformed_literal
from pcnc.source import Span

__all__ = [
    "duplicate_clause",
    "malformed_literal",
    "misplaced_brace",
    "misplaced_else",
    "misspelt_word",
    "nested_too_deeply",
    "not_in_this_version",
    "source_too_long",
    "unclosed_brace",
    "unclosed_parenthesis",
    "unexpected_character",
    "unexpected_token",
    "unmatched_brace",
    "unterminated_string",
    "zero_depth",
]


def unexpected_character(character: str, span: Span) -> Diagnostic:
    """A character with which nothing in the language begins."""
    help = ""
    if character in "'`\u2018\u2019\u201c\u201d\u00ab\u00bb":
        help = 'text stands between straight double quotes: `"text"`'
    elif character == "!":
        help = "write `not` to negate a condition, `!=` to compare"
    elif character == "\u2026":
        help = "a range is written with two dots: `80..90`"
    elif character in "\u2013\u2014\u2212":
        help = "the minus sign is `-`"
    elif character == "\u2192":
        help = "an arrow is written `->`"
    elif character.isalnum():
        help = "names are made of the letters a to z, A to Z, digits and `_`"
    elif character in "\u00a0\u200b\u3000\ufeff":
        help = "this looks like a blank and is none: put an ordinary one in its place"
    shown = f"`{character}`" if character.isprintable() and not character.isspace() else f"U+{ord(character):04X}"
    return Diagnostic("unexpected-character", f"unexpected character {shown}", span, help=help)


def unterminated_string(span: Span) -> Diagnostic:
    """A string whose line ends before it does."""
    return Diagnostic(
        "unterminated-string", "this string does not end", span, help='a string ends with `"` on the line it begins on'
    )


def unexpected_token(found: str, expected: Sequence[str], span: Span, help: str = "") -> Diagnostic:
    """Something that cannot stand where it does. Both are told in words: "a name", "`{`"."""
    if len(expected) <= 4:
        wanted = _joined(expected)
        return Diagnostic("unexpected-token", f"expected {wanted}, found {found}", span, help=help)
    return Diagnostic("unexpected-token", f"unexpected {found}", span, help=help or f"here stands {_joined(expected)}")


def _joined(alternatives: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(alternatives[:-1]), *alternatives[-1:]]))


def misspelt_word(word: str, meant: str, span: Span) -> Diagnostic:
    """A word that is nearly one of the language, where only one of the language can stand."""
    return Diagnostic(
        "misspelt-word", f"unexpected `{word}`", span, label="not a word of the language", help=f"did you mean `{meant}`?"
    )


def unclosed_brace(opened: Span, span: Span, suspect: Span | None = None) -> Diagnostic:
    """A `{` without its `}` before `span`. `suspect` is one whose `}` is indented as if it belonged to another."""
    notes = [Note("the `{` opened here is not closed", opened)]
    if suspect is not None and suspect != opened:
        notes.append(Note("its `}` is indented differently: perhaps it is this one that is not closed", suspect))
    before = f"before {_told(span)}" if span.text.strip() else "before the end of the file"
    return Diagnostic("unclosed-brace", f"a `}}` is missing {before}", span, help="close it with `}`", notes=tuple(notes))


def _told(span: Span) -> str:
    return f"`{span.text}`"


def unclosed_parenthesis(sign: str, opened: Span, span: Span) -> Diagnostic:
    """A `(` or `[` without its counterpart before `span`."""
    closing = {"(": ")", "[": "]"}[sign]
    before = f"before {_told(span)}" if span.text.strip() else "before the end of the file"
    return Diagnostic(
        "unclosed-parenthesis",
        f"a `{closing}` is missing {before}",
        span,
        help=f"close it with `{closing}`",
        notes=(Note(f"the `{sign}` opened here is not closed", opened),),
    )


def unmatched_brace(span: Span) -> Diagnostic:
    """A `}` too many."""
    return Diagnostic(
        "unmatched-brace", "this `}` closes nothing", span, help="leave it out, or look for a `{` that is missing above"
    )


def misplaced_brace(span: Span) -> Diagnostic:
    """A `{` at the beginning of a line."""
    return Diagnostic(
        "misplaced-brace", "a body begins on a line of its own", span, help="put the `{` at the end of the line before"
    )


def misplaced_else(span: Span) -> Diagnostic:
    """An `else` at the beginning of a line."""
    return Diagnostic(
        "misplaced-else", "`else` begins a line", span, help="put `else` on the line of the `}` before it: `} else {`"
    )


def nested_too_deeply(most: int, span: Span) -> Diagnostic:
    """Expressions or blocks inside one another beyond all need."""
    return Diagnostic(
        "nested-too-deeply",
        f"this is nested more than {most} deep",
        span,
        help="give parts of it names with `let`, or put them into an action",
    )


def source_too_long(most: int, span: Span) -> Diagnostic:
    """A source that no person wrote."""
    return Diagnostic(
        "source-too-long",
        f"there are more than {most:,} words and signs up to here",
        span,
        help="large numbers of rules belong into `rules` blocks or files of rules, which have no such limit",
    )


def duplicate_clause(word: str, span: Span, first: Span) -> Diagnostic:
    """A clause that stands twice in a table or header."""
    return Diagnostic(
        "duplicate-clause",
        f"`{word}` stands here a second time",
        span,
        help="put both into one, separated by commas" if word in ("match", "action", "count") else "leave one of them out",
        notes=(Note(f"the first `{word}` is here", first),),
    )


def zero_depth(span: Span) -> Diagnostic:
    """A header that may follow itself no times at all."""
    return Diagnostic("zero-depth", "a header's depth is at least 1", span, help="leave `[0]` out: then it stands once")
