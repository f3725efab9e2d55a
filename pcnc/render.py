"""Diagnostics as text, with the source line and a caret below it, and as values for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from pcnc.diagnostics import Diagnostic, Note, Severity
from pcnc.source import Span

_WIDEST = 160
"""Columns of a source line that are shown; of a longer one, the stretch around the caret."""

_RED, _YELLOW, _BLUE, _CYAN, _BOLD, _RESET = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1;36m", "\x1b[1m", "\x1b[0m"


def render(diagnostics: Iterable[Diagnostic], colour: bool = False) -> str:
    """All diagnostics one after another, a blank line between them, with a newline at the end; empty for none."""
    return "\n".join(_Renderer(colour).diagnostic(diagnostic) for diagnostic in diagnostics)


class NotePlace(TypedDict):
    """A note as a value; the place is null where it has none."""

    message: str
    file: str | None
    line: int | None
    column: int | None
    end_line: int | None
    end_column: int | None


class DiagnosticPlace(NotePlace):
    """A diagnostic as a value. Lines and columns count from 1, `end_column` is one past the last character."""

    name: str
    severity: str
    label: str
    help: str
    notes: list[NotePlace]


def to_json(diagnostic: Diagnostic) -> DiagnosticPlace:
    """A diagnostic as a dictionary of plain values."""
    return {
        **_place(diagnostic.message, diagnostic.span),
        "name": diagnostic.name,
        "severity": diagnostic.severity.value,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "notes": [_place(note.message, note.span) for note in diagnostic.notes],
    }


def _place(message: str, span: Span | None) -> NotePlace:
    if span is None:
        return {"message": message, "file": None, "line": None, "column": None, "end_line": None, "end_column": None}
    line, column = span.source.line_and_column(span.start)
    end_line, end_column = span.source.line_and_column(span.end)
    return {
        "message": message,
        "file": span.source.path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


class _Renderer:
    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def diagnostic(self, diagnostic: Diagnostic) -> str:
        is_error = diagnostic.severity is Severity.ERROR
        mark = _RED if is_error else _YELLOW
        head = self._paint(f"{diagnostic.severity.value}[{diagnostic.name}]", mark)
        lines = [head + self._paint(f": {_safe(diagnostic.message)}", _BOLD)]
        spans = [s for s in (diagnostic.span, *(note.span for note in diagnostic.notes)) if s is not None]
        margin = max((len(str(span.line)) for span in spans), default=0)
        if diagnostic.span is not None:
            lines += self._excerpt(diagnostic.span, diagnostic.label, margin, "^", mark)
        if diagnostic.help:
            lines.append(self._remark("help", diagnostic.help, margin))
        for note in diagnostic.notes:
            lines += self._note(note, margin)
        return "\n".join(lines) + "\n"

    def _note(self, note: Note, margin: int) -> list[str]:
        if note.span is None:
            return [self._remark("note", note.message, margin)]
        return [self._paint("note", _CYAN) + f": {_safe(note.message)}", *self._excerpt(note.span, "", margin, "-", _BLUE)]

    def _remark(self, kind: str, text: str, margin: int) -> str:
        indented = _safe(text).replace("\n", "\n" + " " * (margin + 9))
        return f"{' ' * margin} {self._paint('=', _BLUE)} {self._paint(kind, _CYAN)}: {indented}"

    def _excerpt(self, span: Span, label: str, margin: int, caret: str, mark: str) -> list[str]:
        """Where it is, the source line, and a caret under each character; of a longer stretch its first line."""
        line, column = span.source.line_and_column(span.start)
        whole = span.source.line_text(line)
        end_line, end_column = span.source.line_and_column(span.end)
        until = end_column - 1 if end_line == line else len(whole)
        from_, shown, cut = _window(whole, column - 1)
        before = _shown(whole[from_ : column - 1])
        marked = _shown(whole[column - 1 : min(until, from_ + len(shown))])
        bar = self._paint("|", _BLUE)
        arrow = self._paint("-->", _BLUE)
        start, stop = ("…" if from_ else ""), ("…" if cut else "")
        carets = caret * max(_width(marked), 1) + ("…" if end_line != line else "")
        number = self._paint(f"{line:>{margin}}", _BLUE)
        pad = " " * margin
        under = f"{start and ' '}{' ' * _width(before)}{self._paint(carets + (f' {_safe(label)}' if label else ''), mark)}"
        return [
            f"{pad}{arrow} {_safe(span.source.path)}:{line}:{column}",
            f"{pad} {bar}",
            f"{number} {bar} {start}{_shown(shown)}{stop}".rstrip(),
            f"{pad} {bar} {under}",
        ]

    def _paint(self, text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if self.colour else text


def _window(line: str, column: int) -> tuple[int, str, bool]:
    """Where the shown part of a line begins, that part, and whether something stands behind it."""
    if len(line) <= _WIDEST:
        return 0, line, False
    start = max(0, min(column - _WIDEST // 4, len(line) - _WIDEST))
    return start, line[start : start + _WIDEST], start + _WIDEST < len(line)


def _shown(text: str) -> str:
    """Source text as it can be printed: a tab is one blank, and nothing reaches the terminal that would steer it."""
    return _safe(text.replace("\t", " "))


def _safe(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
