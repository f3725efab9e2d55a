"""A sheet of characters to draw on: lines that join where they meet, text, and a style for each character."""

from __future__ import annotations

from itertools import groupby
from typing import Literal

Style = Literal["", "bold", "dim", "drop", "pass", "entry", "parser", "table", "stage", "branch", "next"]

_CODES: dict[Style, str] = {
    "bold": "1",
    "dim": "2",
    "drop": "31",
    "pass": "34",
    "next": "1;32",
    "entry": "1",
    "parser": "1;34",
    "table": "1;36",
    "stage": "1;35",
    "branch": "1;33",
}
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_JOINS = {
    _UP: "│",
    _DOWN: "│",
    _LEFT: "─",
    _RIGHT: "─",
    _UP | _DOWN: "│",
    _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "╭",
    _DOWN | _LEFT: "╮",
    _UP | _RIGHT: "╰",
    _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├",
    _UP | _DOWN | _LEFT: "┤",
    _LEFT | _RIGHT | _DOWN: "┬",
    _LEFT | _RIGHT | _UP: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}
_ASCII = str.maketrans("│─╭╮╰╯├┤┬┴┼┌┐└┘┄┊▶▼→·…✗", "|-+++++++++++++.:>v>-.x")


class Canvas:
    """Characters by column and row, both from 0 and growing to the right and downwards; it is as large as what is on it."""

    def __init__(self) -> None:
        self._text: dict[tuple[int, int], str] = {}
        self._lines: dict[tuple[int, int], int] = {}
        self._styles: dict[tuple[int, int], Style] = {}

    def put(self, x: int, y: int, text: str, style: Style = "") -> None:
        """Writes text over whatever is there."""
        for index, character in enumerate(text):
            self._text[x + index, y] = character
            self._styles[x + index, y] = style

    def level(self, x: int, end: int, y: int, style: Style = "") -> None:
        """A level line from x to end, both included."""
        for at in range(x, end + 1):
            self._join(at, y, (_LEFT if at > x else 0) | (_RIGHT if at < end else 0), style)

    def upright(self, x: int, y: int, end: int, style: Style = "") -> None:
        """An upright line between two rows, both included."""
        first, last = min(y, end), max(y, end)
        for at in range(first, last + 1):
            self._join(x, at, (_UP if at > first else 0) | (_DOWN if at < last else 0), style)

    def _join(self, x: int, y: int, directions: int, style: Style) -> None:
        self._lines[x, y] = self._lines.get((x, y), 0) | directions
        self._styles[x, y] = style

    def show(self, colour: bool, ascii_only: bool) -> str:
        """The rows, without blanks at their ends; a newline after each. `colour`: with ANSI escapes (ECMA-48 SGR)."""
        cells = {**{at: _JOINS.get(mask, " ") for at, mask in self._lines.items()}, **self._text}
        rows: dict[int, dict[int, str]] = {}
        for (x, y), character in cells.items():
            rows.setdefault(y, {})[x] = character
        shown = []
        for y in range(max(rows, default=-1) + 1):
            row = rows.get(y, {})
            text = "".join(row.get(x, " ") for x in range(max(row, default=-1) + 1)).rstrip()
            if ascii_only:
                text = text.translate(_ASCII).encode("ascii", "replace").decode()
            shown.append(self._coloured(text, y) if colour else text)
        return "".join(f"{row}\n" for row in shown)

    def _coloured(self, text: str, y: int) -> str:
        parts = []
        styles: list[Style] = [self._styles.get((x, y), "") for x in range(len(text))]
        for style, run in groupby(range(len(text)), key=styles.__getitem__):
            part = "".join(text[x] for x in run)
            parts.append(f"\x1b[{_CODES[style]}m{part}\x1b[0m" if style else part)
        return "".join(parts)
