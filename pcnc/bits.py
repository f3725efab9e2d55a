"""Reads and writes unsigned integers at any bit of a byte string, in network order."""

from __future__ import annotations


def covering_bytes(offset: int, width: int) -> tuple[int, int]:
    """The bytes, first and one past the last, in which `width` bits from bit `offset` lie."""
    return offset // 8, (offset + width + 7) // 8


def read_bits(data: bytes | bytearray, offset: int, width: int) -> int:
    """The integer in `width` bits from bit `offset` (bit 0 is the most significant of byte 0). The bits must be there."""
    first, end = covering_bytes(offset, width)
    whole = int.from_bytes(data[first:end], "big")
    return (whole >> (end * 8 - offset - width)) & ((1 << width) - 1)


def write_bits(data: bytearray, offset: int, width: int, value: int) -> None:
    """Writes the low `width` bits of a value at bit `offset` and leaves the bits around them. The bits must be there."""
    first, end = covering_bytes(offset, width)
    shift = end * 8 - offset - width
    mask = ((1 << width) - 1) << shift
    whole = int.from_bytes(data[first:end], "big")
    data[first:end] = ((whole & ~mask) | ((value << shift) & mask)).to_bytes(end - first, "big")
