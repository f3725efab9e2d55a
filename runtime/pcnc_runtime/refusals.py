"""Programs that the kernel's verifier or clang refuses: what their logs say, the line of PCN, and the few lines that tell why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pcnc.source import Source
from pcnc_runtime.errors import Refusal, RuntimeProblem

if TYPE_CHECKING:
    from pcnc_runtime.changes import SourceRecord

_LINE = re.compile(r"; (?P<text>.*) @ (?P<file>.+?):(?P<line>\d+)(?::\d+)?\Z")
_TEXT = re.compile(r"; (?P<text>(?!frame\d|R\d).+)\Z")
_INSTRUCTION = re.compile(r"\d+: \([0-9a-f]{2}\) ")
_STATE = re.compile(r"(?:\d+: |from \d+ to \d+(?: \(.*\))?: |; )(?:frame\d+: )?R\d+")
_STATISTICS = re.compile(
    r"processed \d+ insns|verification time|stack depth|insns processed|mark_precise:|\(END\)|arg#\d+ .*ignored|"
    r"(?:Live regs|func#\d+|Global function)"
)
_ERROR = re.compile(r"(?P<file>[^\s:][^:]*):(?P<line>\d+):\d+: (?:fatal )?error: (?P<reason>.*)\Z")

_OUR_OWN = (".h", ".bpf.c")
"""Files that nobody wrote in PCN."""

_MOST_REASONS = 2
"""Lines behind the refused instruction that are quoted: the last says which rule was broken, the one before often by what."""


def read_verifier_log(log: str, program: str = "") -> Refusal:
    """What a verifier's log says of a program.

    The place is the last line of PCN on the way to the refused instruction: code that has no line of its own follows what called
    it. Line information needs a program built with -g; kernels before 6.9 print the text of the line alone.
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    said = [line for line in lines if not _STATISTICS.match(line)]
    at = next((index for index in reversed(range(len(said))) if _INSTRUCTION.match(said[index])), None)
    behind = said[at + 1 :] if at is not None else said[-_MOST_REASONS:]
    reasons = [line for line in behind if not line.startswith("; ") and not _STATE.match(line)][-_MOST_REASONS:]
    reason = reasons[-1] if reasons else said[-1] if said else ""
    excerpt = (*([_with_state(said[: at + 1], reasons)] if at is not None else []), *reasons)
    for line in reversed(said):
        if (place := _LINE.match(line)) and not place["file"].endswith(_OUR_OWN):
            return Refusal(program, reason, excerpt, place["file"], int(place["line"]), place["text"])
    text = next((match["text"] for line in reversed(said) if not _LINE.match(line) and (match := _TEXT.match(line))), "")
    return Refusal(program, reason, excerpt, text=text)


def _with_state(lines: Sequence[str], reasons: Sequence[str]) -> str:
    """The last of these lines, an instruction, with what the verifier knew of the register that the reasons or it are about."""
    instruction = lines[-1].partition(";")[0].rstrip()
    named = [number for line in reversed(reasons) for number in re.findall(r"\bR(\d+)\b", line)]
    named += re.findall(r"\br(\d+)\b", instruction.partition("=")[2])
    for number in named[:1]:
        known = re.compile(rf"\bR{number}(?:_\w+)?=(\w*\((?:[^()]|\([^()]*\))*\)|\S+)")
        for line in reversed(lines):
            # States stand behind the instruction that leads to them, or alone where a branch is taken up.
            state = line.partition("; ")[2] if _INSTRUCTION.match(line) else line if _STATE.match(line) else ""
            if found := known.search(state):
                return f"{instruction:<40} ; R{number}={found[1]}"
    return instruction


def read_clang_errors(words: str, program: str) -> Refusal:
    """What clang says of a C text that it does not take."""
    lines = words.splitlines()
    for index, line in enumerate(lines):
        if match := _ERROR.match(line):
            known = not match["file"].endswith(_OUR_OWN)
            place = (match["file"].rpartition("/")[2], int(match["line"])) if known else ("", 0)
            return Refusal(program, match["reason"], tuple(lines[index : index + 3]), *place)
    first = next((line for line in lines if "error:" in line), words.strip().partition("\n")[0])
    return Refusal(program, first, (first,) if first else ())


@contextmanager
def compiled_from(source: Callable[[], SourceRecord | None]) -> Iterator[None]:
    """Gives a refusal that the body raises the source of what is refused, which is read only then."""
    try:
        yield
    except RuntimeProblem as problem:
        if problem.refusal is not None and problem.source is None:
            with suppress(RuntimeProblem):  # the refusal is what has to be told, also where the records are damaged
                record = source()
                problem.source = Source(record.path, record.text) if record else None
        raise
