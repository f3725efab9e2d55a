"""The wording of problems with files of changes. What is wrong with the rules in them is told as it is everywhere."""

from __future__ import annotations

from pcnc.diagnostics import Diagnostic
from pcnc.problems.names import did_you_mean
from pcnc.source import Span

__all__ = ["malformed_change", "more_change_problems", "unknown_change"]

VERBS = ("add", "delete", "replace", "flush")

_FORMS = {
    "add": "`add TABLE RULE`, `add TABLE before ID RULE`, `add TABLE at N RULE`, `add TABLE last RULE`",
    "delete": "`delete TABLE MATCH`, `delete TABLE id N`",
    "replace": "`replace TABLE { RULES }`, the `{` on the same line",
    "flush": "`flush TABLE`",
}


def unknown_change(word: str, span: Span) -> Diagnostic:
    """A line that begins with no word that a change begins with."""
    help = did_you_mean(word, VERBS) or "a change begins with `add`, `delete`, `replace` or `flush`, and then the table"
    return Diagnostic("unknown-change", f"`{word}` is no change of rules", span, help=help)


def malformed_change(reason: str, span: Span, verb: str = "") -> Diagnostic:
    """A change that lacks something, or has too much."""
    return Diagnostic("malformed-change", reason, span, help=f"it is written {_FORMS[verb]}" if verb in _FORMS else "")


def more_change_problems(count: int, span: Span | None) -> Diagnostic:
    """How many more changes have a problem that is not shown."""
    changes = "1 more change has a problem" if count == 1 else f"{count:,} more changes have problems"
    return Diagnostic("more-change-problems", f"{changes} from here on", span)
