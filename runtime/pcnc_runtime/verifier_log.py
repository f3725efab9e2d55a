"""The kernel verifier's log: the reason it gives, and the source line at which it gave up."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_INFO = re.compile(r"^; (?P<text>.*) @ (?P<file>\S+?):(?P<line>\d+)(?::\d+)?$")
_STATISTICS = re.compile(r"^(processed \d+ insns|verification time|stack depth|insns processed|mark_precise|math between)")
_KEPT_LINES = 12


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a program was refused: the verifier's words, the source line it was at (0: unknown), the end of its log."""

    reason: str
    file: str
    line: int
    text: str
    excerpt: str


def read_log(log: str) -> Refusal:
    """What a verifier log says. Line information needs a program built with -g; kernels before 6.9 print no file and line."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    said = [line for line in lines if not _STATISTICS.match(line)]
    reason = said[-1] if said else ""
    located = next((match for line in reversed(said) if (match := _LINE_INFO.match(line))), None)
    return Refusal(
        reason=reason,
        file=located["file"] if located else "",
        line=int(located["line"]) if located else 0,
        text=located["text"] if located else "",
        excerpt="\n".join(said[-_KEPT_LINES:]),
    )
