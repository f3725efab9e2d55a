"""What an ELF object says of itself before anybody loads it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("IIQQQQIIQQ")
_SYMBOL = struct.Struct("IBBHQQ")
_RELOCATION = struct.Struct("QQ")
_EXECUTABLE = 4  # SHF_EXECINSTR
_SYMBOLS, _RELOCATIONS = 2, 9  # SHT_SYMTAB, SHT_REL
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


def code(data: bytes) -> Iterator[bytes]:
    """What runs of an object: its instructions, and where they refer to which map or function. ValueError where it is none.

    What is there for people, above all which line an instruction comes from, is not among it.
    """
    try:
        yield from _code(data)
    except (struct.error, IndexError) as error:
        raise ValueError(str(error)) from None


def _code(data: bytes) -> Iterator[bytes]:
    header = _HEADER.unpack_from(data)
    if not header[0].startswith(b"\x7fELF"):
        raise ValueError("it does not begin as an object does")
    table, size, count = header[6], header[11], header[12]
    heads = [_SECTION.unpack_from(data, table + index * size) for index in range(count)]
    symbols = [head for head in heads if head[1] == _SYMBOLS]
    names = [
        _text(data, heads[link][4] + symbol[0])
        for _, _, _, _, offset, length, link, *_ in symbols
        for symbol in _SYMBOL.iter_unpack(data[offset : offset + length])
    ]
    for _, kind, flags, _, offset, length, _, target, *_ in heads:
        content = data[offset : offset + length]
        if flags & _EXECUTABLE and content:
            yield content
        elif kind == _RELOCATIONS and heads[target][2] & _EXECUTABLE:
            for place, what in _RELOCATION.iter_unpack(content):
                yield b"%d %s %d" % (place, names[what >> 32], what & 0xFFFFFFFF)


def _text(data: bytes, start: int) -> bytes:
    return data[start : data.index(b"\0", start)]


def longest_program(data: bytes) -> int:
    """How many instructions the longest section of code has."""
    return max((len(each.content) // _INSTRUCTION for each in sections(data) if each.executable), default=0)
