"""The values of literals: integers, durations, addresses and prefixes from the text that stands for them.

Used by the parser and by the reader of rules at run time, so it imports next to nothing. Every function raises ValueError
with a text that says in the reader's words what is wrong; values are in host order.
"""

from __future__ import annotations

import re
from typing import Literal

AddressKind = Literal["ipv4", "ipv6", "mac"]
PrefixKind = Literal["ipv4", "ipv6"]

INTEGER_BITS = 128
"""The widest integer that can be written: an `ipv6_addr`."""

_INTEGER = re.compile(r"0x([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)|0b([01]+(?:_[01]+)*)|([0-9]+(?:_[0-9]+)*)([kMG]?)")
_DURATION = re.compile(r"([0-9]+(?:_[0-9]+)*)(ns|us|ms|s|m|h)")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")

_POWERS = {"": 0, "k": 10, "M": 20, "G": 30}
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

# 128 bits are at most 39 decimal digits; anything much longer is refused before int(), which is quadratic.
_MOST_DIGITS = 200


def _shown(text: str) -> str:
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def parse_integer(text: str) -> int:
    """`80`, `0x800`, `0b1010`, `1_000`, and sizes in powers of 1024: `64k`, `1M`, `2G`. At most 128 bits."""
    # The plain case first: a rule file has hundreds of thousands of them.
    if text.isdigit() and text.isascii() and len(text) < 30 and (text[0] != "0" or len(text) == 1):
        return int(text)
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a number{_why_no_number(text)}")
    hexadecimal, binary, decimal, suffix = match.groups()
    if decimal is not None and len(decimal) > 1 and decimal[0] == "0":
        raise ValueError(f"{_shown(text)} begins with a zero, which other languages read as octal")
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{_shown(text)} does not fit into {INTEGER_BITS} bits")
    if hexadecimal is not None:
        value = int(hexadecimal, 16)
    elif binary is not None:
        value = int(binary, 2)
    else:
        value = int(decimal) << _POWERS[suffix]
    if value >> INTEGER_BITS:
        raise ValueError(f"{_shown(text)} does not fit into {INTEGER_BITS} bits")
    return value


def _why_no_number(text: str) -> str:
    if text in ("0x", "0b"):
        return f": digits must follow `{text}`"
    if text.endswith("_"):
        return ": it ends with `_`"
    if "__" in text:
        return ": it has two `_` in a row"
    if text.startswith("0x"):
        return ": after `0x` stand the digits 0 to 9 and a to f"
    if text.startswith("0b"):
        return ": after `0b` stand the digits 0 and 1"
    return ""


def parse_duration(text: str) -> int:
    """`5ms`, `30s`, `10m`, `1h` (and `ns`, `us`) in nanoseconds. At most 64 bits."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a length of time")
    digits, unit = match.groups()
    value = int(digits) * _NANOSECONDS[unit] if len(digits) <= _MOST_DIGITS else 1 << 64
    if value >> 64:
        raise ValueError(f"{_shown(text)} is longer than 64 bits of nanoseconds can tell (about 584 years)")
    return value


def parse_ipv4(text: str) -> int:
    """`10.0.0.1`: four numbers from 0 to 255, none with a leading zero."""
    parts = text.split(".")
    if len(parts) != 4:
        raise ValueError(f"{_shown(text)} is not an IPv4 address: it must have four numbers")
    value = 0
    for part in parts:
        if not (part.isdigit() and part.isascii()):
            raise ValueError(f"{_shown(text)} is not an IPv4 address: {_shown(part)} is not a number")
        if part[0] == "0" and len(part) > 1:
            raise ValueError(f"{_shown(text)} is not an IPv4 address: {_shown(part)} begins with a zero")
        octet = int(part) if len(part) < 4 else 256
        if octet > 255:
            raise ValueError(f"{_shown(text)} is not an IPv4 address: {_shown(part)} is more than 255")
        value = value << 8 | octet
    return value


def parse_ipv6(text: str) -> int:
    """`2001:db8::1`, `::ffff:10.0.0.1` (RFC 4291, 2.2), without a zone."""
    import ipaddress

    if "%" in text or "/" in text:
        raise ValueError(f"{_shown(text)} is not an IPv6 address")
    try:
        return int(ipaddress.IPv6Address(text))
    except ValueError as error:
        # The library quotes the whole text again behind "in": cut there.
        reason = str(error).rsplit(" in ", 1)[0]
        reason = f"{reason[:1].lower()}{reason[1:]}" if not reason.startswith("IP") else reason
        raise ValueError(f"{_shown(text)} is not an IPv6 address: {reason}") from None


def parse_mac(text: str) -> int:
    """`02:00:00:00:00:01`: six bytes of two hexadecimal digits; the first is the most significant."""
    if _MAC.fullmatch(text) is None:
        raise ValueError(f"{_shown(text)} is not a MAC address: it must have six bytes of two hexadecimal digits")
    return int(text.replace(":", ""), 16)


def parse_address(text: str) -> tuple[AddressKind, int]:
    """Any address, and which kind its writing says it is."""
    if ":" not in text:
        return "ipv4", parse_ipv4(text)
    if _MAC.fullmatch(text) is not None:
        return "mac", int(text.replace(":", ""), 16)
    return "ipv6", parse_ipv6(text)


def parse_prefix(text: str) -> tuple[PrefixKind, int, int]:
    """`10.0.0.0/8`, `2001:db8::/32`: kind, value and length. Bits beyond the length may be set: who knows more objects."""
    address, slash, digits = text.partition("/")
    kind: PrefixKind = "ipv6" if ":" in address else "ipv4"
    value = parse_ipv6(address) if kind == "ipv6" else parse_ipv4(address)
    longest = 128 if kind == "ipv6" else 32
    if not (slash and digits.isdigit() and digits.isascii()) or (digits[0] == "0" and len(digits) > 1):
        raise ValueError(f"{_shown(text)} is not a prefix: its length must be a number from 0 to {longest}")
    length = int(digits) if len(digits) < 4 else longest + 1
    if length > longest:
        raise ValueError(f"{_shown(text)} is not a prefix: an {_WRITTEN[kind]} prefix is at most {longest} bits long")
    return kind, value, length


_WRITTEN = {"ipv4": "IPv4", "ipv6": "IPv6"}


def why_malformed(text: str) -> str:
    """Why what begins like a number or an address is neither."""
    if ":" in text:
        return f"{_shown(text)} is neither a MAC nor an IPv6 address"
    if text.count(".") == 1:
        return f"{_shown(text)} is not a number: all numbers are whole"
    try:
        (parse_ipv4 if "." in text else parse_integer)(text)
    except ValueError as error:
        return str(error)
    return f"{_shown(text)} cannot stand before what follows it"
