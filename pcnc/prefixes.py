"""Prefixes as masks: from a length to a mask, back, and as they are written."""

from __future__ import annotations

from pcnc.show_value import show_value
from pcnc.types import Type


def prefix_mask(length: int, bits: int) -> int:
    """A mask of `bits` bits of which the first `length` are set."""
    return ((1 << length) - 1) << (bits - length)


def prefix_length(mask: int, bits: int) -> int | None:
    """How long the prefix is that a mask keeps; None where its ones are not the leading bits."""
    length = mask.bit_count()
    return length if mask == prefix_mask(length, bits) else None


def show_prefix(value: int, length: int, type: Type) -> str:
    """`10.0.0.0/8`."""
    return f"{show_value(value, type)}/{length}"
