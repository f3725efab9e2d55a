"""Writes a value the way people write it in PCN: `10.0.0.1`, `02:00:00:00:00:01`, `30s`, `true`, an enum's member."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from pcnc.types import Type

_UNITS = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))


def show_value(value: int, type: Type) -> str:
    """The text that stands for a value of a type; an enum's value without a name is a number."""
    match type.format:
        case "bool":
            return "true" if value else "false"
        case "decimal":
            return str(value)
        case "ipv4":
            return str(IPv4Address(value))
        case "ipv6":
            return str(IPv6Address(value))
        case "mac":
            return value.to_bytes(6, "big").hex(":")
        case "duration":
            return next((f"{value // size}{unit}" for unit, size in _UNITS if value and value % size == 0), "0s")
        case "enum":
            return next((name for name, member in type.members if member == value), str(value))
        case _:
            assert_never(type.format)
