"""What a person waits for: whole commands, each a process of its own, beside the time that it may take."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.compiled import FIREWALL
from bench.lab import Lab
from bench.long_source import LINES, long_source

RULES = 1_000
"""How many rules stand in the table that is changed."""

SOURCE_LINES = 1_000
ROUNDS = 7

_LIMIT = 60.0  # seconds, after which a command counts as hung


@dataclass(frozen=True, slots=True)
class Task:
    """A command line to time; `before` brings things into the state that it is to meet, and is not timed."""

    what: str
    arguments: tuple[str, ...]
    bound: float | None = None
    """Seconds that it may take; None where nothing is promised."""
    before: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Timed:
    """How long a command took, in seconds: the median and the least of `runs`, and the median CPU time of all its processes."""

    what: str
    bound: float | None
    wall: float
    least: float
    cpu: float
    runs: int


class Commands:
    """The command `pcnc` with a cache of its own, so that nothing that the user keeps helps or is forgotten."""

    def __init__(self, folder: Path) -> None:
        self._cache = folder / "cache"
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(self._cache)}

    def run(self, *arguments: str, input: str | None = None) -> str:
        """Runs it in the calling thread's network namespace and returns what it wrote. RuntimeError where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "pcnc.cli", *arguments],
            input=input,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"`pcnc {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def forget_objects(self) -> None:
        """Empties the cache of objects: clang has to run again. The grammar and clang's version stay known."""
        for kept in (self._cache / "pcnc" / "objects").glob("*.o"):
            kept.unlink()

    def forget_everything(self) -> None:
        """Empties the whole cache: the next command is the first one ever."""
        shutil.rmtree(self._cache, ignore_errors=True)


def time_commands(rounds: int = ROUNDS, progress: Callable[[str], object] = lambda doing: None) -> list[Timed]:
    """Times the commands in turn, `rounds` times each after one that warms up; `progress` is told of each.

    RuntimeError where one fails.
    """
    with tempfile.TemporaryDirectory(prefix="pcnc-bench-") as name:
        folder = Path(name)
        commands = Commands(folder)
        source = folder / "long.pcn"
        source.write_text(long_source(SOURCE_LINES // LINES))
        build = ("build", str(FIREWALL), "-o", str(folder / "bundle"))
        with _loaded_firewall(commands) as service:
            tasks = (
                Task(f"check, a file of {SOURCE_LINES:,} lines", ("check", str(source)), 1.0),
                Task("build the firewall, no object known", build, 0.5, commands.forget_objects),
                Task("build the firewall, every object known", build, 0.5),
                Task(f"rules add, to {RULES:,} live rules", ("rules", service, "sources", "add", "172.16.0.0/16 -> drop"), 0.2),
                Task(f"rules delete, from {RULES:,} live rules", ("rules", service, "sources", "delete", "172.16.0.0/16"), 0.2),
                Task("--help", ("--help",)),
                Task("build the firewall, the first command ever", build, None, commands.forget_everything),
            )
            return time_tasks(commands, tasks, rounds, progress)


def time_tasks(
    commands: Commands, tasks: Sequence[Task], rounds: int, progress: Callable[[str], object] = lambda doing: None
) -> list[Timed]:
    """Runs the tasks in turn and times them; the first round only warms up."""
    walls: Mapping[str, list[float]] = {task.what: [] for task in tasks}
    cpus: Mapping[str, list[float]] = {task.what: [] for task in tasks}
    for _ in range(rounds + 1):
        for task in tasks:
            progress(task.what)
            if task.before is not None:
                task.before()
            busy, began = _cpu_of_children(), time.perf_counter()
            commands.run(*task.arguments)
            walls[task.what].append(time.perf_counter() - began)
            cpus[task.what].append(_cpu_of_children() - busy)
    return [
        Timed(task.what, task.bound, median(walls[task.what][1:]), min(walls[task.what][1:]), median(cpus[task.what][1:]), rounds)
        for task in tasks
    ]


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _loaded_firewall(commands: Commands) -> Iterator[str]:
    """Loads the firewall on a veth device and gives it its rules; yields its name. The thread is in the device's namespace."""
    name = f"bench-{os.getpid()}"
    rules = "\n".join(f"10.{number >> 8}.{number & 255}.0/24 -> drop" for number in range(RULES))
    with Lab() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "eth0", right, "eth0")
        with right.entered():
            commands.run("load", str(FIREWALL), "--name", name, "--dev", "eth0")
            try:
                commands.run("rules", name, "sources", "add", "-", input=rules)
                yield name
            finally:
                commands.run("unload", name)
