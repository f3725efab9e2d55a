"""The command as a process of its own, as people run it: what it printed, and how it ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab import Namespace

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
FOLDERS = os.pathsep.join(str(ROOT / folder) for folder in (".", "grammar", "backends", "runtime"))
COMMAND = (sys.executable, "-m", "pcnc.cli")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.output)

    def check(self) -> Done:
        """The same, where it ended well."""
        assert self.status == 0, f"exit status {self.status}\n{self.output}{self.errors}"
        return self

    def refused(self, name: str, status: int = 1) -> str:
        """What it said to somebody who asked for what cannot be: one clear problem, and no traceback."""
        assert self.status == status, f"exit status {self.status}\n{self.output}{self.errors}"
        assert f"error[{name}]" in self.errors, self.errors
        self.is_civil()
        return self.errors

    def is_civil(self) -> Done:
        """The same, where nothing in it is meant for who wrote the program."""
        for word in ("Traceback", "internal-error", "Exception ignored"):
            assert word not in self.errors + self.output, self.errors
        return self


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, from which the packages are found."""
    return {**os.environ, "PYTHONPATH": FOLDERS, "NO_COLOR": "1", **more}


def pcnc(
    *arguments: str | Path,
    within: Namespace | None = None,
    prefix: Sequence[str] = (),
    given: str | bytes = b"",
    without: Sequence[str] = (),
    changed: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Done:
    """Runs `pcnc`: in a namespace, behind another command, with standard input, without or with changed variables."""
    variables = {name: value for name, value in environment(**(changed or {})).items() if name not in without}
    command = [*_entering(within), *prefix, *COMMAND, *map(str, arguments)]
    text = given.encode() if isinstance(given, str) else given
    done = subprocess.run(command, env=variables, input=text, capture_output=True, timeout=120, cwd=folder or ROOT, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def no_compiler(folder: Path) -> dict[str, str]:
    """Variables by which no compiler is found, given a folder without programs."""
    return {"PATH": str(folder), "PCNC_CLANG": "", "PCNC_TOOLCHAIN": "", "PCNC_LIBBCC": str(folder / "libbcc.so.0")}


def start(*arguments: str | Path, within: Namespace | None = None) -> subprocess.Popen[bytes]:
    """Starts `pcnc` and returns at once; `ended` waits for it."""
    command = [*_entering(within), *COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def ended(process: subprocess.Popen[bytes]) -> Done:
    """Waits until a command that was started has ended."""
    output, errors = process.communicate(timeout=60)
    return Done(process.returncode, output.decode(), errors.decode())


def _entering(namespace: Namespace | None) -> list[str]:
    if namespace is None:
        return []
    nsenter = shutil.which("nsenter")
    assert nsenter is not None
    return [nsenter, f"--net={namespace.path}"]
