"""The values and patterns of rules: from text, by the column's kind and type, and back to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from pcnc import problems
from pcnc.diagnostics import Diagnostic
from pcnc.literals import parse_address, parse_duration, parse_integer, parse_ipv4, parse_ipv6, parse_mac, parse_prefix
from pcnc.prefixes import prefix_length, prefix_mask, show_prefix
from pcnc.rules import ColumnSchema, Interval, MaskedValue, Pattern, Rule, TableSchema
from pcnc.show_value import show_value
from pcnc.source import Span
from pcnc.types import Type


class BadValue(Exception):
    """A text that is no value or pattern of its column; `tell` makes the diagnostic once it is known where it stands."""

    def __init__(self, tell: Callable[[Span], Diagnostic]) -> None:
        super().__init__()
        self.tell = tell


_KINDS = {
    "bool": "`true` or `false`",
    "decimal": "a number",
    "enum": "a number",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "mac": "a MAC address",
    "duration": "a duration",
}
_BITS = {"ipv4": 32, "ipv6": 128}


def read_value(text: str, type: Type, names: Mapping[str, int]) -> int:
    """A literal of that type, one of the names, or numbers joined by `|`; raises BadValue."""
    if text in names:
        value = names[text]
        if value > type.maximum:
            raise BadValue(partial(problems.value_does_not_fit, value, type))
        return value
    try:
        match type.format:
            case "ipv4":
                return parse_ipv4(text)
            case "decimal" | "enum":
                value = parse_integer(text)
            case "ipv6":
                return parse_ipv6(text)
            case "mac":
                return parse_mac(text)
            case "duration":
                return parse_duration(text)
            case "bool":
                return ("false", "true").index(text)
    except ValueError as error:
        if type.format in ("decimal", "enum") and "|" in text:
            return _joined(text, type, names)
        raise BadValue(_why(text, type, names, str(error))) from None
    if value > type.maximum:
        raise BadValue(partial(problems.value_does_not_fit, value, type))
    return value


def _joined(text: str, type: Type, names: Mapping[str, int]) -> int:
    """`syn|ack`, `(syn | ack)`."""
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    value = 0
    for part in inner.split("|"):
        value |= read_value(part.strip(), type, names)
    return value


def _why(text: str, type: Type, names: Mapping[str, int], reason: str) -> Callable[[Span], Diagnostic]:
    """What to say of a text that is no value: a name nobody knows, a literal of another kind, or a damaged one."""
    if not text:
        return partial(problems.malformed_rule, "a value is missing")
    if text == "*":
        return partial(problems.type_mismatch, _KINDS[type.format], "`*`")
    if text[0].isalpha() and text.replace("_", "a").isalnum() and ":" not in text:
        known = (*names, "true", "false") if type.format == "bool" else tuple(names)
        return lambda span: problems.unknown_name(text, span, known)
    found = _kind_of(text)
    if found is not None and found != _KINDS[type.format]:
        return partial(problems.type_mismatch, _KINDS[type.format], found)
    return partial(problems.malformed_literal, reason)


def _kind_of(text: str) -> str | None:
    """What sort of literal a text is, in words; None where it is none at all."""
    try:
        kind, _ = parse_address(text)
    except ValueError:
        pass
    else:
        return _KINDS[kind]
    for read, kind_in_words in ((parse_integer, "a number"), (parse_duration, "a duration")):
        try:
            read(text)
        except ValueError:
            continue
        return kind_in_words
    return None


def read_pattern(text: str, column: ColumnSchema) -> Pattern:
    """What a rule asks of a column: `*`, a value, and by the column's kind a prefix, a range or a value with a mask."""
    if text == "*":
        return None
    type = column.type
    kind = column.kind
    if kind == "lpm" or kind == "prefix":
        if "/" in text:
            return _prefix(text, column)
    elif "/" in text:
        if kind != "ternary":
            raise BadValue(lambda span: problems.pattern_not_of_kind("a prefix", column.name, kind, span))
        return _prefix(text, column)
    if ".." in text:
        low, _, high = text.partition("..")
        if kind != "range":
            raise BadValue(lambda span: problems.pattern_not_of_kind("a range", column.name, kind, span))
        names = dict(column.constants)
        first, last = read_value(low.strip(), type, names), read_value(high.strip(), type, names)
        if first > last:
            raise BadValue(partial(problems.empty_range, low.strip(), high.strip()))
        return Interval(first, last)
    if "&&&" in text:
        if kind != "ternary":
            raise BadValue(lambda span: problems.pattern_not_of_kind("a value with a mask", column.name, kind, span))
        return _masked(text, column)
    value = read_value(text, type, dict(column.constants))
    return Interval(value, value) if kind == "range" else MaskedValue(value, type.maximum)


def _prefix(text: str, column: ColumnSchema) -> MaskedValue:
    try:
        kind, value, length = parse_prefix(text)
    except ValueError as error:
        raise BadValue(partial(problems.malformed_literal, str(error))) from None
    if kind != column.type.format:
        found = f"an {'IPv4' if kind == 'ipv4' else 'IPv6'} prefix"
        raise BadValue(partial(problems.type_mismatch, _KINDS[column.type.format], found))
    bits = _BITS[kind]
    mask = prefix_mask(length, bits)
    if value & ~mask:
        raise BadValue(partial(problems.bits_beyond_prefix, text, show_prefix(value & mask, length, column.type)))
    return MaskedValue(value, mask)


def _masked(text: str, column: ColumnSchema) -> MaskedValue:
    written, _, written_mask = text.partition("&&&")
    names = dict(column.constants)
    value, mask = read_value(written.strip(), column.type, names), read_value(written_mask.strip(), column.type, names)
    if value & ~mask:
        raise BadValue(partial(problems.bits_beyond_mask, text, _show_masked(value & mask, mask, column.type)))
    return MaskedValue(value, mask)


# ---- back to text


def format_rule(rule: Rule, schema: TableSchema) -> str:
    """The rule as it would be written; `read_rules` reads an equal rule from it."""
    action = next(action for action in schema.actions if action.name == rule.action)
    pairs = zip(rule.arguments, action.parameters, strict=True)
    arguments = ", ".join(show_value(value, parameter.type) for value, parameter in pairs)
    return f"{format_match(rule.matches, schema)} -> {rule.action}" + (f"({arguments})" if arguments else "")


def format_match(matches: tuple[Pattern, ...], schema: TableSchema) -> str:
    """The left side of a rule as it would be written: `*`, `10.0.0.0/8`, `ipv4.proto=tcp, l4.dport=22..25`."""
    asked = [(c, p) for c, p in zip(schema.columns, matches, strict=True) if p is not None]
    if len(schema.columns) == 1:
        return format_pattern(asked[0][1], schema.columns[0]) if asked else "*"
    return ", ".join(f"{column.name}={format_pattern(pattern, column)}" for column, pattern in asked) or "*"


def format_pattern(pattern: Pattern, column: ColumnSchema) -> str:
    """What a rule asks of one column, as it would be written."""
    type = column.type
    match pattern:
        case None:
            return "*"
        case Interval(low, high):
            return show_value(low, type) if low == high else f"{show_value(low, type)}..{show_value(high, type)}"
        case MaskedValue(value, mask):
            if mask == type.maximum:
                return show_value(value, type)
            length = prefix_length(mask, type.bits) if type.format in _BITS else None
            return show_prefix(value, length, type) if length is not None else _show_masked(value, mask, type)


def _show_masked(value: int, mask: int, type: Type) -> str:
    if type.format in ("decimal", "enum"):
        return f"{value:#x} &&& {mask:#x}"
    return f"{show_value(value, type)} &&& {show_value(mask, type)}"
