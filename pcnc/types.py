"""The types of PCN values: how many bits, and how a value is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["bool", "decimal", "ipv4", "ipv6", "mac", "duration", "enum"]


@dataclass(frozen=True, slots=True)
class Type:
    """An unsigned integer of `bits` bits in host order (a bool has one), and how people write it.

    Two types are the same when name, bits and format agree. `members` are an enum's names and values.
    """

    name: str
    bits: int
    format: Format
    members: tuple[tuple[str, int], ...] = ()

    @property
    def maximum(self) -> int:
        """The largest value, `2**bits - 1`."""
        return (1 << self.bits) - 1

    def __str__(self) -> str:
        return self.name


BOOL = Type("bool", 1, "bool")
IPV4_ADDR = Type("ipv4_addr", 32, "ipv4")
IPV6_ADDR = Type("ipv6_addr", 128, "ipv6")
MAC_ADDR = Type("mac_addr", 48, "mac")
DURATION = Type("duration", 64, "duration")


def unsigned(bits: int) -> Type:
    """`u1` to `u64`."""
    return Type(f"u{bits}", bits, "decimal")


BUILT_IN_TYPES: dict[str, Type] = {
    "bool": BOOL,
    "ipv4_addr": IPV4_ADDR,
    "ipv6_addr": IPV6_ADDR,
    "mac_addr": MAC_ADDR,
    "duration": DURATION,
    **{f"u{bits}": unsigned(bits) for bits in range(1, 65)},
}
