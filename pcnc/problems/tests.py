"""The wording of problems with `test` blocks."""

from __future__ import annotations

from collections.abc import Iterable

from pcnc.diagnostics import Diagnostic
from pcnc.problems.names import listed
from pcnc.source import Span

__all__ = [
    "bad_layer",
    "counter_not_kept",
    "expect_without_send",
    "layers_do_not_follow",
    "no_such_rule",
    "unknown_expectation",
    "unseen_in_test",
]


def layers_do_not_follow(layer: str, previous: str, span: Span, possible: Iterable[str]) -> Diagnostic:
    """A layer that cannot stand behind the one before it, or first."""
    names = tuple(possible)
    where = f"cannot follow `{previous}`" if previous else "does not begin a packet"
    follows = f"`{previous}` is followed by" if previous else "a packet begins with"
    return Diagnostic(
        "layers-do-not-follow",
        f"`{layer}` {where}",
        span,
        help=f"{follows} {listed(names)}" if names else f"nothing but a payload follows `{previous}`",
    )


def bad_layer(reason: str, span: Span, help: str = "") -> Diagnostic:
    """A payload, `bytes` or `truncate` that is not written as it must be, or stands in the wrong place."""
    return Diagnostic("bad-layer", reason, span, help=help)


def expect_without_send(span: Span) -> Diagnostic:
    """What became of a packet, when none has been sent."""
    return Diagnostic("expect-without-send", "no packet has been sent yet", span, help="`send ingress: eth / ipv4` sends one")


def unknown_expectation(span: Span) -> Diagnostic:
    """An `expect` of something that is neither a verdict nor a condition over counters."""
    return Diagnostic(
        "unknown-expectation",
        "this is neither a verdict nor a condition over counters",
        span,
        help="`expect drop`, `expect next with ipv4.ttl == 63`, `expect TABLE[1].packets == 1`",
    )


def counter_not_kept(table: str, unit: str, span: Span) -> Diagnostic:
    """A counter that the table does not have."""
    return Diagnostic("counter-not-kept", f"table `{table}` does not count {unit}", span, help=f"`count {unit}` in the table")


def no_such_rule(table: str, rule: int, rules: int, span: Span) -> Diagnostic:
    """A counter of a rule that the test has not set."""
    has = "no rule" if rules == 0 else "1 rule" if rules == 1 else f"{rules} rules"
    return Diagnostic(
        "no-such-rule",
        f"the test has set {has} of table `{table}`, and this is number {rule}",
        span,
        help="rules count from 1 in the order written; 0 is the default",
    )


def unseen_in_test(kind: str, name: str, span: Span) -> Diagnostic:
    """A meta or setting in an expectation, which sees only the packet as it left, and counters."""
    return Diagnostic(
        "unseen-in-test",
        f"an expectation does not see {kind} `{name}`",
        span,
        help="it sees the fields of the packet as it left, and counters",
    )
