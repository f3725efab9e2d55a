"""What an ELF object says of itself before anybody loads it."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("IIQQQQIIQQ")
_EXECUTABLE = 4  # SHF_EXECINSTR
_INSTRUCTION = 8


def longest_program(data: bytes) -> int:
    """How many instructions the longest section of code has, in a 64-bit object of this machine's byte order."""
    header = _HEADER.unpack_from(data)
    table, size, count = header[6], header[11], header[12]
    sections = (_SECTION.unpack_from(data, table + index * size) for index in range(count))
    return max((section[5] // _INSTRUCTION for section in sections if section[2] & _EXECUTABLE), default=0)
