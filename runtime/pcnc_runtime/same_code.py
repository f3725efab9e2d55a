"""Whether two blocks are the same code: their C without what is for people, or the instructions of their objects.

Where a block stands in its source is in both, as comments and as debug information, and does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from pcnc_runtime.elf import code

_FOR_PEOPLE = re.compile(r"/\*.*?\*/|//[^\n]*|^[ \t]*#[ \t]*(?:line[ \t]+)?\d+[^\n]*", re.DOTALL | re.MULTILINE)


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
        parts = list(code(data))
    except ValueError:
        parts = [data]  # another toolchain's form
    return sha256(b"\0".join(parts)).hexdigest()
