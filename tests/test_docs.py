"""The documents say what is so: their programs compile, their commands print what they show, their tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pcnc.compile import check
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.run_tests import run_tests
from pcnc.source import Source
from tests.documents import DOCUMENTS, ROOT, Block, Command, blocks_of, commands_of

BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
PROGRAMS = [block for block in BLOCKS if block.language == "pcn"]
SESSIONS = [document for document in DOCUMENTS if any(block.language == "console" for block in blocks_of(document))]


# ---- programs


def diagnose(block: Block) -> tuple[Diagnostic, ...]:
    """All that the compiler has to say of a block, and what its tests have."""
    try:
        checked = check(Source(block.file or str(block), block.source))
    except CompileError as error:
        return error.diagnostics
    results = [result for service in checked.program.services for result in run_tests(checked.program, service)]
    return (*checked.warnings, *(diagnostic for result in results for diagnostic in result.diagnostics))


@pytest.mark.parametrize("block", [block for block in PROGRAMS if not block.fails], ids=str)
def test_a_program_compiles_and_its_tests_pass(block: Block) -> None:
    # What stands alone in a piece of a program is used by nobody.
    found = [diagnostic for diagnostic in diagnose(block) if diagnostic.is_error or not block.taken_as]
    assert not found, "\n".join(f"{each.name}: {each.message}" for each in found)


@pytest.mark.parametrize("block", [block for block in PROGRAMS if block.fails], ids=str)
def test_a_program_that_is_wrong_is_told_so(block: Block) -> None:
    assert {diagnostic.name for diagnostic in diagnose(block)} == {block.fails}


# ---- commands


@pytest.mark.kernel
@pytest.mark.parametrize("document", SESSIONS, ids=lambda document: document.name)
def test_commands_print_what_is_shown(document: Path, tmp_path: Path) -> None:
    """Runs a document's commands from the first to the last; with PCNC_BLESS=1 it shows what they print from now on."""
    shown: dict[Block, list[Command]] = {}
    differing: list[str] = []
    with Machine(tmp_path) as machine:
        for block in blocks_of(document):
            if block.file:
                (tmp_path / block.file).write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                for command in commands_of(block):
                    printed = machine.run(command.text)
                    same = settled(printed) == settled(command.printed)
                    shown.setdefault(block, []).append(command if same else Command(command.text, printed))
                    if not same:
                        differing.append(f"{block}: $ {command.text}\n{printed}")
    pictures = [(tmp_path / path.name, path) for path in (ROOT / "docs").glob("*.svg") if (tmp_path / path.name).exists()]
    if os.environ.get("PCNC_BLESS") == "1":
        bless(document, shown)
        for made, kept in pictures:
            kept.write_bytes(made.read_bytes())
    assert not differing, "\n".join(differing)
    assert [kept.name for made, kept in pictures if made.read_bytes() != kept.read_bytes()] == []


class Machine:
    """Namespaces of network and mounts for one session: its devices, names, pins and records are nobody else's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": os.environ.get("HOME", "/root"),
            "LANG": "C.UTF-8",
            "COLUMNS": "96",
            # Where the tests run on another tree than the one that is installed, so do the commands.
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        }

    def __enter__(self) -> Machine:
        folders = "mount -t tmpfs run /run && mkdir /run/netns && mount -t tmpfs records /var/lib"
        own = f"{folders} && mount -t bpf bpf /sys/fs/bpf && ip link set lo up"
        begin = ["unshare", "--net", "--mount", "sh", "-c", f"{own} && echo ready && exec cat"]
        self._owner = subprocess.Popen(begin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._environment)
        assert self._owner.stdout is not None
        assert self._owner.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input ends it, and with it the namespaces and all that is in them.
        self._owner.communicate()

    def run(self, command: str) -> str:
        """What a command prints, its errors among it, as in a terminal."""
        enter = ["nsenter", f"--target={self._owner.pid}", "--net", "--mount", f"--wd={self._folder}"]
        done = subprocess.run(
            [*enter, "bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            env=self._environment,
            check=False,
        )
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


VOLATILE = (
    (re.compile(r"\d+(?:\.\d+)? ?(?:ms|µs|s)\b"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "CLOCK"),
    (re.compile(r"\bprogram \d+"), "program ID"),
    # A program's id, its length and that of its machine code, which clang and the kernel decide.
    (re.compile(r"^( +\d+ +\S+ +\S+) +\d+ +[\d,]+ +[\d,]+ bytes$", re.MULTILINE), r"\1 ID LENGTH LENGTH"),
    # What nobody sent on purpose goes on, too: neighbours look for each other.
    (re.compile(r"\b[\d,]+( +packets?)\b(?! transmitted)"), r"COUNT\1"),
    (re.compile(r"^ +[\d,]+( +next)$", re.MULTILINE), r"COUNT\1"),
    (re.compile(r"\bnext [\d,]+$", re.MULTILINE), "next COUNT"),
    (re.compile(r"^ +[\d,]+( +drop: default)", re.MULTILINE), r"COUNT\1"),
    (re.compile(r"(  (?:default|file|operator|both)) +[\d,]+(?=  )"), r"\1 COUNT"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run: times, ids, counts of packets that no command of the session sent."""


def settled(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return text.strip()


def bless(document: Path, shown: dict[Block, list[Command]]) -> None:
    """Writes what the commands printed into their document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    for block, commands in sorted(shown.items(), key=lambda item: -item[0].line):
        first = block.line - 1
        end = lines.index("```", first)
        told = "".join(f"$ {command.text}\n{command.printed}" for command in commands)
        lines[first:end] = told.splitlines()
    document.write_text("\n".join(lines) + "\n", encoding="utf-8")
