"""What an ELF object says of itself before anybody loads it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("IIQQQQIIQQ")
_EXECUTABLE = 4  # SHF_EXECINSTR
_INSTRUCTION = 8


@dataclass(frozen=True, slots=True)
class Section:
    """A section of an object."""

    name: str
    executable: bool
    content: bytes


def sections(data: bytes) -> Iterator[Section]:
    """The sections of a 64-bit object in this machine's byte order."""
    header = _HEADER.unpack_from(data)
    table, size, count, names = header[6], header[11], header[12], header[13]
    heads = [_SECTION.unpack_from(data, table + index * size) for index in range(count)]
    for name, _, flags, _, offset, length, *_ in heads:
        start = heads[names][4] + name
        text = data[start : data.index(b"\0", start)].decode()
        yield Section(text, bool(flags & _EXECUTABLE), data[offset : offset + length])


def longest_program(data: bytes) -> int:
    """How many instructions the longest section of code has."""
    return max((len(each.content) // _INSTRUCTION for each in sections(data) if each.executable), default=0)
