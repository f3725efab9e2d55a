"""What stands in the documents: blocks of code, and what the comments before them say of them.

A comment in the line before a block says how it is to be taken; without one a `pcn` block is a whole file.

    <!-- pcn: declarations -->       what stands beside services
    <!-- pcn: members -->            the members of a service
    <!-- pcn: statements -->         the statements of a stage
    <!-- pcn: fails narrowing -->    it has the problem of that name; `members, fails …` and `statements, fails …` alike
    <!-- file: firewall.pcn -->      this is the file that the commands further down work on
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_COMMENT = re.compile(r"<!-- (pcn|file): (.*?) -->")
_FENCE = re.compile(r"```(\w*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: where its first line stands, and what was said of it."""

    document: Path
    line: int
    language: str
    text: str
    taken_as: str = ""
    fails: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def source(self) -> str:
        """The file that a `pcn` block stands for."""
        match self.taken_as:
            case "declarations":
                return f"{self.text}service example {{\nchain ingress {{ }}\n}}\n"
            case "members":
                chain = "" if re.search(r"^\s*chain ", self.text, re.MULTILINE) else "chain ingress { }\n"
                return f"service example {{\n{self.text}{chain}}}\n"
            case "statements":
                return f"service example {{\nchain ingress {{\nstage example {{\n{self.text}}}\n}}\n}}\n"
            case _:
                return self.text


def blocks_of(document: Path) -> Iterator[Block]:
    """The blocks of a document, in order."""
    lines = document.read_text(encoding="utf-8").splitlines()
    said: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if comment := _COMMENT.fullmatch(line.strip()):
            said[comment[1]] = comment[2]
        elif fence := _FENCE.fullmatch(line.strip()):
            first, indent = number, len(line) - len(line.lstrip())
            while lines[number].strip() != "```":
                number += 1
            text = "".join(f"{inside[indent:]}\n" for inside in lines[first:number])
            number += 1
            yield _block(document, first + 1, fence[1], text, said)
            said = {}
        elif line.strip():
            said = {}


def _block(document: Path, line: int, language: str, text: str, said: dict[str, str]) -> Block:
    words = [word.strip() for word in said.get("pcn", "").split(",") if word.strip()]
    fails = next((word.removeprefix("fails ") for word in words if word.startswith("fails ")), "")
    taken_as = next((word for word in words if not word.startswith("fails ")), "")
    if taken_as not in ("", "declarations", "members", "statements"):
        raise ValueError(f"{document.name}:{line}: a block is not taken as {taken_as!r}")
    return Block(document, line, language, text, taken_as, fails, said.get("file", ""))


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a document shows it, and what it prints there."""

    text: str
    printed: str


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a `console` block: those behind `$ `, each with the lines up to the next."""
    text: list[str] = []
    printed: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if text:
                yield Command("\n".join(text), _joined(printed))
            text, printed = [line.removeprefix("$ ")], []
        elif text and not printed and text[-1].endswith("\\"):
            text.append(line)
        else:
            printed.append(line)
    if text:
        yield Command("\n".join(text), _joined(printed))


def _joined(lines: list[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)
