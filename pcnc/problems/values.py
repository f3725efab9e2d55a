"""The wording of problems with values: types, widths, literals and constants."""

from __future__ import annotations

from pcnc.diagnostics import Diagnostic, Severity
from pcnc.source import Span
from pcnc.types import Type

__all__ = [
    "bits_beyond_mask",
    "bits_beyond_prefix",
    "division_by_zero",
    "empty_range",
    "header_is_no_value",
    "literal_out_of_place",
    "malformed_literal",
    "narrowing",
    "no_such_operation",
    "not_a_bool",
    "not_a_constant",
    "shift_too_large",
    "type_mismatch",
    "value_does_not_fit",
    "verdict_in_expression",
    "wrong_argument_count",
]


def type_mismatch(wanted: str, found: str, span: Span, help: str = "") -> Diagnostic:
    """A value of one type where another is wanted. Both are told in words (`u16`, `an IPv4 address`)."""
    return Diagnostic("type-mismatch", f"this is {found}, and {wanted} is wanted", span, help=help)


def not_a_bool(found: str, span: Span, help: str) -> Diagnostic:
    """A number or an address where a condition is wanted."""
    return Diagnostic("not-a-bool", f"a condition is wanted, and this is {found}", span, help=help)


def value_does_not_fit(value: int, type: Type, span: Span, help: str = "") -> Diagnostic:
    """A constant that is too large (or negative) for where it goes."""
    if value < 0:
        return Diagnostic("value-does-not-fit", f"{value} is negative, and values are unsigned", span, help=help)
    return Diagnostic(
        "value-does-not-fit",
        f"{value} does not fit `{type}`",
        span,
        label=f"`{type}` holds 0 to {type.maximum}",
        help=help,
    )


def narrowing(found: Type, wanted: Type, span: Span, text: str) -> Diagnostic:
    """A wider value that goes to a narrower type, and nothing proves that it fits."""
    shown = text if len(text) <= 40 and "\n" not in text else "…"
    return Diagnostic(
        "narrowing",
        f"a value of `{found}` may not fit `{wanted}`",
        span,
        label=f"this is `{found}`",
        help=f"`{wanted}({shown})` cuts it to the low {wanted.bits} bits",
    )


def no_such_operation(operator: str, type: str, span: Span, help: str = "") -> Diagnostic:
    """An operator that values of this type do not have."""
    return Diagnostic("no-such-operation", f"`{operator}` does not work on {type}", span, help=help)


def literal_out_of_place(what: str, span: Span, help: str) -> Diagnostic:
    """A prefix, range, mask, set or string where a single value is wanted."""
    return Diagnostic("literal-out-of-place", f"{what} is not a value by itself", span, help=help)


def malformed_literal(reason: str, span: Span) -> Diagnostic:
    """A number or address in a rule that cannot be read; the reason is that of `pcnc.literals`."""
    return Diagnostic("malformed-literal", reason, span)


def bits_beyond_prefix(text: str, meant: str, span: Span) -> Diagnostic:
    """`10.0.0.1/8`: bits are set behind the prefix's length."""
    return Diagnostic(
        "bits-beyond-prefix",
        f"`{text}` has bits set beyond its length",
        span,
        help=f"the prefix is `{meant}`; one address is written without a length",
    )


def bits_beyond_mask(text: str, meant: str, span: Span) -> Diagnostic:
    """`0xff &&& 0x0f`: bits are set that the mask leaves out, so nothing would match."""
    return Diagnostic(
        "bits-beyond-mask", f"`{text}` has bits set outside its mask", span, help=f"`{meant}` has the bits the mask keeps"
    )


def empty_range(low: str, high: str, span: Span) -> Diagnostic:
    """`90..80`."""
    return Diagnostic("empty-range", f"the range `{low}..{high}` is empty", span, help=f"both ends are included: `{high}..{low}`")


def shift_too_large(amount: int, type: str, span: Span) -> Diagnostic:
    """A shift by the width or more, which leaves nothing."""
    return Diagnostic("shift-too-large", f"a shift by {amount} leaves nothing of {type}", span)


def division_by_zero(operator: str, span: Span) -> Diagnostic:
    """A constant zero on the right of `/` or `%`."""
    result = "0" if operator == "/" else "the left side"
    return Diagnostic("division-by-zero", "the right side is always 0", span, Severity.WARNING, help=f"the result is {result}")


def not_a_constant(what: str, span: Span) -> Diagnostic:
    """A value only known at run time where the compiler must know it."""
    return Diagnostic("not-a-constant", f"{what} must be a constant", span, label="known only at run time")


def header_is_no_value(header: str, other: str, span: Span, presence: bool) -> Diagnostic:
    """`eth.type == tcp`: a header that has no single value of that field."""
    return Diagnostic(
        "header-is-no-value",
        f"`{header}` stands for no value of {other}",
        span,
        help=f"`if {header} {{ … }}` asks whether it is present" if presence else "",
    )


def verdict_in_expression(name: str, kind: str, span: Span) -> Diagnostic:
    """`let x = drop`: a verdict or action where a value is wanted."""
    return Diagnostic(
        "verdict-in-expression",
        f"`{name}` is {kind} and has no value",
        span,
        help="it stands alone as a statement",
    )


def wrong_argument_count(name: str, wanted: str, found: int, span: Span) -> Diagnostic:
    """A call or a rule with too many or too few arguments. `wanted` is the parameter list as declared."""
    arguments = "1 argument" if found == 1 else f"{found} arguments"
    return Diagnostic(
        "wrong-argument-count",
        f"`{name}` gets {arguments}",
        span,
        help=f"it takes none: `{name}`" if not wanted else f"it takes `{name}({wanted})`",
    )
