"""The history of a service: a line of JSON for each generation that came into force, the last thousand of them.

A line is added when the generation is known to be in force, by the command that made it or, where that died, by the next one.
Whoever adds one looks at the last line first, so that none is there twice, and takes away what was written only in part.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pcnc.manifest import ManifestError, from_json, to_json
from pcnc_runtime.errors import problem_from_errno
from pcnc_runtime.history_entry import HistoryEntry
from pcnc_runtime.record_files import write_file

KEPT = 1000
"""Entries that are shown."""

_SLACK = 250
"""So many more may be in the file before it is written anew."""

_TAIL = 1 << 16
"""Bytes that are read to find the last line; where it is longer, all is read."""


def add_entry(path: Path, entry: HistoryEntry) -> None:
    """Adds an entry, numbered, unless it is the last one there. RuntimeProblem where the file cannot be written."""
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            last, end = _last(file)
            if last is not None and _is_same(last, entry):
                return
            number = last.number + 1 if last is not None else 1
            file.truncate(end)
            file.seek(end)
            file.write(_line(replace(entry, number=number, mark="")))
            file.flush()
            os.fsync(file.fileno())
        if number % _SLACK == 0 and number > KEPT:
            _shorten(path)
    except OSError as error:
        raise problem_from_errno(error, f"write {path}") from None


def read_entries(path: Path, coming: HistoryEntry | None = None) -> tuple[HistoryEntry, ...]:
    """The entries, the oldest first; `coming` is one that is in force and may not be in the file yet."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        lines = []
    entries = [entry for line in lines[-KEPT:] if (entry := _entry(line)) is not None]
    if coming is not None and not any(_is_same(entry, coming) for entry in entries):
        entries.append(replace(coming, number=entries[-1].number + 1 if entries else 1))
    return tuple(entries[-KEPT:])


def _is_same(one: HistoryEntry, other: HistoryEntry) -> bool:
    return (one.generation, one.when) == (other.generation, other.when)


def _line(entry: HistoryEntry) -> bytes:
    return json.dumps(to_json(entry), separators=(",", ":")).encode() + b"\n"


def _entry(line: bytes) -> HistoryEntry | None:
    """An entry, None where the line is none: a machine that lost its power may have left anything at the end."""
    try:
        return from_json(HistoryEntry, json.loads(line), "history")
    except (ManifestError, ValueError):
        return None


def _last(file: BinaryIO) -> tuple[HistoryEntry | None, int]:
    """The last entry, and where what is whole ends."""
    size = file.seek(0, os.SEEK_END)
    for begin in dict.fromkeys((max(0, size - _TAIL), 0)):
        file.seek(begin)
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        # What stands before the first newline may be the end of a line.
        for line in reversed(tail[:end].split(b"\n")[:-1][0 if begin == 0 else 1 :]):
            if (entry := _entry(line)) is not None:
                return entry, begin + end
    return None, end


def _shorten(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    write_file(path, b"".join(line + b"\n" for line in lines[-KEPT:]), durable=True)
