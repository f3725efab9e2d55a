"""Whether two blocks are the same code: their C without what is for people, or the instructions of their objects.

Where a block stands in its source is in both, as comments and as debug information, and does not count.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

_FOR_PEOPLE = re.compile(r"/\*.*?\*/|//[^\n]*|^[ \t]*#[ \t]*(?:line[ \t]+)?\d+[^\n]*", re.DOTALL | re.MULTILINE)
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_SYMBOLS, _RELOCATIONS, _EXECUTABLE = 2, 9, 4
"""ELF: SHT_SYMTAB, SHT_REL and SHF_EXECINSTR (System V ABI, chapter 4)."""


@dataclass(frozen=True, slots=True)
class BlockCode:
    """Digests of a block's C and of its instructions; empty where that is not at hand."""

    text: str = ""
    instructions: str = ""

    def is_same(self, other: BlockCode) -> bool:
        """Whether both are the same code, by the C where both have it, else by the instructions."""
        if self.text and other.text:
            return self.text == other.text
        return bool(self.instructions) and self.instructions == other.instructions


def code_of(text: bytes | None, object: bytes | None) -> BlockCode:
    """The code of a block from its C and its object, as far as they are there."""
    return BlockCode("" if text is None else _digest_text(text), "" if object is None else _digest_object(object))


def _digest_text(text: bytes) -> str:
    words = _FOR_PEOPLE.sub(" ", text.decode(errors="replace")).split()
    return sha256(" ".join(words).encode()).hexdigest()


def _digest_object(data: bytes) -> str:
    try:
        parts = list(_instructions(data))
    except (struct.error, IndexError, ValueError):
        parts = [data]  # another toolchain's form
    return sha256(b"\0".join(parts)).hexdigest()


def _instructions(data: bytes) -> Iterator[bytes]:
    """The executable sections of a little-endian ELF64 object, and the names that their relocations refer to."""
    head = _HEADER.unpack_from(data)
    if not head[0].startswith(b"\x7fELF\2\1"):
        raise ValueError("not an ELF64 object")
    start, size, count = head[6], head[11], head[12]
    sections = [_SECTION.unpack_from(data, start + size * index) for index in range(count)]
    names: list[str] = []
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        if kind == _SYMBOLS:
            texts = sections[link][4]
            for symbol in _SYMBOL.iter_unpack(data[offset : offset + length]):
                names.append(_text_at(data, texts + symbol[0]))
    for _, kind, flags, _, offset, length, _, target, _, _ in sections:
        content = data[offset : offset + length]
        if flags & _EXECUTABLE and length:
            yield content
        elif kind == _RELOCATIONS and sections[target][2] & _EXECUTABLE:
            for place, what in _RELOCATION.iter_unpack(content):
                yield f"{place} {names[what >> 32]} {what & 0xFFFFFFFF}".encode()


def _text_at(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode(errors="replace")
