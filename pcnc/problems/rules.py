"""The wording of problems with rules, in files and at run time."""

from __future__ import annotations

from collections.abc import Sequence

from pcnc.diagnostics import Diagnostic, Note, Severity
from pcnc.problems.names import listed
from pcnc.source import Span

__all__ = [
    "column_name_missing",
    "contradicting_rules",
    "malformed_rule",
    "more_rule_problems",
    "pattern_not_of_kind",
    "rule_needs_header",
    "shadowed_rule",
    "star_in_exact_column",
    "table_too_small",
]


def malformed_rule(reason: str, span: Span) -> Diagnostic:
    """A line that is no rule."""
    return Diagnostic(
        "malformed-rule", reason, span, help="a rule is `MATCH -> ACTION`, as in `ipv4.src=10.0.0.0/8, ipv4.proto=tcp -> drop`"
    )


def column_name_missing(table: str, span: Span, columns: Sequence[str]) -> Diagnostic:
    """A bare value in a rule of a table that matches several fields."""
    return Diagnostic(
        "column-name-missing",
        f"table `{table}` matches several fields, and this does not say which one it is for",
        span,
        help=f"write `FIELD=` before it; the fields are {listed(columns)}",
    )


def pattern_not_of_kind(what: str, column: str, kind: str, span: Span) -> Diagnostic:
    """A prefix, range or mask in a column whose kind has none."""
    takes = {
        "exact": "one value",
        "lpm": "a prefix, one address or `*`",
        "prefix": "a prefix, one address or `*`",
        "range": "a range, one value or `*`",
        "ternary": "a value with a mask, a prefix, one value or `*`",
    }[kind]
    return Diagnostic("pattern-not-of-kind", f"column `{column}` is `{kind}`, and this is {what}", span, help=f"it takes {takes}")


def star_in_exact_column(column: str, span: Span | None, named: bool) -> Diagnostic:
    """`*` (or nothing said, which is the same) in an exact column of an unordered table."""
    message = (
        f"`{column}` is an `exact` column, which `*` cannot stand in"
        if named
        else f"the rule does not say what `{column}` must be, and `*` cannot stand in an `exact` column"
    )
    return Diagnostic("star-in-exact-column", message, span, help="in a table with `order first` it can")


def contradicting_rules(match: str, span: Span | None, earlier: Span | None) -> Diagnostic:
    """The same match twice in an unordered table."""
    return Diagnostic(
        "contradicting-rules",
        f"two rules match `{match}`",
        span,
        label="this is the second",
        notes=(Note("the first one is here", earlier),) if earlier else (),
    )


def shadowed_rule(span: Span | None, earlier: Span | None, text: str) -> Diagnostic:
    """A rule of an ordered table that an earlier one covers wholly."""
    return Diagnostic(
        "shadowed-rule",
        "this rule can never match: an earlier one takes all its packets",
        span,
        Severity.WARNING,
        notes=(Note(f"the earlier rule is `{text}`", earlier),),
    )


def table_too_small(table: str, size: int, rules: int, span: Span | None) -> Diagnostic:
    """More rules than the table's size."""
    return Diagnostic(
        "table-too-small",
        f"table `{table}` has {rules} rules and room for {size}",
        span,
        help=f"`size {_round_size(rules)}` has room for them",
    )


def _round_size(rules: int) -> str:
    size = 1 << max(rules - 1, 1).bit_length()
    if size >= 1 << 20:
        return f"{size >> 20}M"
    return f"{size >> 10}k" if size >= 1024 else str(size)


def rule_needs_header(action: str, columns: Sequence[str], span: Span | None) -> Diagnostic:
    """`*` in the columns that would prove the presence of a header which the rule's action reads or writes."""
    one = f"`{columns[0]}`" if len(columns) == 1 else f"one of {listed(columns)}"
    return Diagnostic(
        "rule-needs-header",
        f"`{action}` works on a header that a packet matching `*` may not have",
        span,
        help=f"say what {one} must be; `0.0.0.0/0`, `::/0` and whole ranges match every packet that has the field",
    )


def more_rule_problems(count: int, span: Span | None, severity: Severity) -> Diagnostic:
    """How many more rules have a problem that is not shown."""
    rules = "1 more rule has a problem" if count == 1 else f"{count} more rules have problems"
    return Diagnostic("more-rule-problems", f"{rules} from here on", span, severity)
