"""Reading what the command line names: sources, files of rules, standard input; each with its limits and its problems."""

from __future__ import annotations

import sys
from typing import BinaryIO

from pcnc.source import Source
from pcnc_runtime.errors import RuntimeProblem

MOST_SOURCE_BYTES = 4 << 20
"""The longest source: beyond it stands no program that a person wrote, but rules, or noise."""
MOST_RULE_BYTES = 256 << 20
"""The longest file of rules: some five million."""

_RULES_ELSEWHERE = "rules in large numbers go into a file of their own: `pcnc rules NAME TABLE add --file FILE`"


def read_source(path: str) -> Source:
    """A source file; `-` is standard input.

    RuntimeProblem `file-too-large`, `not-utf-8`; OSError where the file cannot be read.
    """
    return _read(path, MOST_SOURCE_BYTES, _RULES_ELSEWHERE)


def read_rule_file(path: str) -> Source:
    """A file of rules; `-` is standard input. Problems as with `read_source`."""
    return _read(path, MOST_RULE_BYTES, "")


def _read(path: str, most: int, help: str) -> Source:
    if path == "-":
        return _decoded(_read_at_most(sys.stdin.buffer, most, "<stdin>", help), "<stdin>")
    with open(path, "rb") as file:
        return _decoded(_read_at_most(file, most, path, help), path)


def _read_at_most(file: BinaryIO, most: int, name: str, help: str) -> bytes:
    content = file.read(most + 1)
    if len(content) > most:
        raise RuntimeProblem("file-too-large", f"{name} is larger than {most >> 20} MiB", help)
    return content


def _decoded(content: bytes, name: str) -> Source:
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        text = f"{name}:{line}:{column}: this is not UTF-8 text: byte 0x{content[error.start]:02x} cannot stand here"
        raise RuntimeProblem("not-utf-8", text, "a source is UTF-8 text; `iconv` converts it from another encoding") from None
