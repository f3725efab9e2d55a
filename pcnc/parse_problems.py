"""The wording of problems with syntax: one function a problem. The problem `malformed-literal` is told by `malformed_literal`."""

from __future__ import annotations

from pcnc.diagnostics import Diagnostic, Note
from pcnc.source import Span


def malformed_literal(reason: str, span: Span) -> Diagnostic:
    """A number, address or prefix that cannot be read; the reason is that of `pcnc.literals`."""
    return Diagnostic("malformed-literal", reason, span)


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
