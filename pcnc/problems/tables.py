"""The wording of problems with tables: what they match, how, and what they do."""

from __future__ import annotations

from collections.abc import Iterable

from pcnc.diagnostics import Diagnostic, Note
from pcnc.problems.names import did_you_mean, listed
from pcnc.source import Span

__all__ = [
    "action_not_in_table",
    "column_not_a_field",
    "kind_needs_order",
    "lpm_with_order",
    "missing_action",
    "missing_match",
    "prefix_on_non_address",
    "table_of_no_size",
    "table_too_wide",
    "two_lpm_columns",
    "unknown_counter",
    "unknown_match_kind",
    "unsupported_order",
]


def missing_match(table: str, span: Span) -> Diagnostic:
    """A table without `match`."""
    return Diagnostic("missing-match", f"table `{table}` matches nothing", span, help="`match ipv4.src: lpm` names the fields")


def missing_action(table: str, span: Span) -> Diagnostic:
    """A table without `action`."""
    return Diagnostic(
        "missing-action", f"table `{table}` has no action", span, help="`action drop, next` says what its rules may do"
    )


def column_not_a_field(text: str, span: Span) -> Diagnostic:
    """Something in `match` that is neither a header field nor a meta."""
    return Diagnostic("column-not-a-field", f"`{text}` is neither a header field nor a meta", span, label="cannot be matched")


def unknown_match_kind(kind: str, span: Span, known: Iterable[str]) -> Diagnostic:
    """A way of matching that does not exist."""
    names = tuple(known)
    return Diagnostic(
        "unknown-match-kind",
        f"there is no match kind `{kind}`",
        span,
        help=did_you_mean(kind, names) or f"the kinds are {listed(names)}",
    )


def kind_needs_order(kind: str, table: str, span: Span) -> Diagnostic:
    """`prefix`, `range` or `ternary` in a table whose rules have no order."""
    prefix = "; for one prefix, the longest of which wins, there is `lpm`" if kind == "prefix" else ""
    return Diagnostic(
        "kind-needs-order",
        f"`{kind}` needs rules in an order, and table `{table}` has none",
        span,
        help=f"with `order first` the first matching rule wins{prefix}",
    )


def lpm_with_order(table: str, span: Span) -> Diagnostic:
    """`lpm` in a table whose rules have an order."""
    return Diagnostic(
        "lpm-with-order",
        f"with `lpm` the longest prefix wins, and in table `{table}` the first rule does",
        span,
        help="`prefix` matches prefixes in an ordered table",
    )


def two_lpm_columns(table: str, span: Span, first: Span) -> Diagnostic:
    """A second `lpm` column: which prefix would be the longest?"""
    return Diagnostic(
        "two-lpm-columns",
        f"table `{table}` has a second `lpm` column",
        span,
        help="`order first` with `prefix` columns takes several prefixes",
        notes=(Note("the first one is here", first),),
    )


def unsupported_order(order: str, span: Span) -> Diagnostic:
    """An order other than `first`."""
    return Diagnostic("unsupported-order", f"there is no order `{order}`", span, help="`order first`: the first matching rule wins")


def unknown_counter(unit: str, span: Span) -> Diagnostic:
    """Something that a table does not count."""
    return Diagnostic("unknown-counter", f"a table does not count `{unit}`", span, help="`count packets, bytes`")


def prefix_on_non_address(kind: str, column: str, type: str, span: Span) -> Diagnostic:
    """`lpm` or `prefix` on something that is no IP address."""
    return Diagnostic(
        "prefix-on-non-address",
        f"`{kind}` matches prefixes of addresses, and `{column}` is `{type}`",
        span,
        help="`range` and `ternary` match several values in a table with `order first`",
    )


def table_of_no_size(table: str, span: Span, limit: int) -> Diagnostic:
    """A size of zero, or of more than can be held."""
    return Diagnostic("table-of-no-size", f"the size of table `{table}` must be between 1 and {limit}", span)


def table_too_wide(table: str, columns: int, bits: int, most: tuple[int, int], span: Span) -> Diagnostic:
    """More columns, or wider ones, than a program in the kernel can hold against a rule."""
    return Diagnostic(
        "table-too-wide",
        f"table `{table}` matches {columns} fields of {bits:,} bits together",
        span,
        help=f"a table matches at most {most[0]} fields of {most[1]:,} bits together",
    )


def action_not_in_table(name: str, table: str, span: Span, actions: Iterable[str]) -> Diagnostic:
    """A rule whose action the table does not have."""
    names = tuple(actions)
    return Diagnostic(
        "action-not-in-table",
        f"table `{table}` has no action `{name}`",
        span,
        help=did_you_mean(name, names) or f"its actions are {listed(names)}",
    )
