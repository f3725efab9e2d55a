"""Reading and writing header fields in packet bytes, as C."""

from __future__ import annotations

from pcnc.parse_graph import Field
from pcnc_ebpf.layout import c_type

_WHOLE = (2, 4, 6, 8, 16)
"""Sizes for which `pcnc_block.h` has a load and a store."""


def _covering(field: Field) -> tuple[int, int, int]:
    """First byte, number of bytes, and how far the value stands left of the last bit of those bytes."""
    first = field.offset // 8
    end = (field.offset + field.type.bits + 7) // 8
    return first, end - first, end * 8 - field.offset - field.type.bits


def read_field(field: Field, at: str) -> str:
    """A C expression for the field's value, in host order; `at` points to the header's first byte."""
    first, count, shift = _covering(field)
    whole = _load(at, first, count)
    if shift:
        whole = f"({whole} >> {shift})"
    if count * 8 != field.type.bits + shift:
        whole = f"({whole} & {field.type.maximum:#x}{'ull' if field.type.bits > 32 else ''})"
    return whole


def _load(at: str, first: int, count: int) -> str:
    if count == 1:
        return f"{at}[{first}]"
    if count in _WHOLE:
        return f"pcnc_load{count * 8}({at} + {first})"
    head = 1 << (count.bit_length() - 1)
    rest = count - head
    wide = c_type(count * 8)
    return f"(({wide}){_load(at, first, head)} << {rest * 8} | {_load(at, first + head, rest)})"


def write_field(field: Field, at: str, value: str) -> list[str]:
    """C statements that store `value`, the name of a variable of the field's type, and keep the bits around it."""
    first, count, shift = _covering(field)
    if count * 8 == field.type.bits:
        return _store(at, first, count, value)
    wide = c_type(count * 8)
    suffix = "ull" if count > 4 else "u"
    keep = ((1 << count * 8) - 1) ^ (field.type.maximum << shift)
    kept = f"(({wide}){_load(at, first, count)} & {keep:#x}{suffix})"
    lines = [f"{wide} whole = {kept} | (({wide}){value} << {shift});"]
    return lines + _store(at, first, count, "whole")


def _store(at: str, first: int, count: int, value: str) -> list[str]:
    if count == 1:
        return [f"{at}[{first}] = {value};"]
    if count in _WHOLE:
        return [f"pcnc_store{count * 8}({at} + {first}, {value});"]
    head = 1 << (count.bit_length() - 1)
    rest = count - head
    upper, lower = f"({c_type(head * 8)})({value} >> {rest * 8})", f"({c_type(rest * 8)}){value}"
    return _store(at, first, head, upper) + _store(at, first + head, rest, lower)


def bytes_around(field: Field) -> tuple[int, int]:
    """First byte and number of bytes that hold the field, from an even byte of its header on."""
    first = field.offset // 8 & ~1
    return first, (field.offset + field.type.bits + 7) // 8 - first
