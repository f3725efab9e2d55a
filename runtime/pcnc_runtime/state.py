"""Where things of a loaded service lie, who may change them now, and what is written down of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.locks import hold_lock
from pcnc_runtime.pins import bpffs
from pcnc_runtime.record_files import broken, read_sealed, sync
from pcnc_runtime.records import Generation, State, boot_id, read_generation, read_state, write_generation, write_state

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_GENERATION = re.compile(r"g(\d+)")
_WAIT = 30.0
"""Seconds that a command waits for another one on the same service."""


def run_folder() -> Path:
    """Where locks are: $PCNC_RUN, else /run/pcnc. Like the pins, they do not outlive the machine."""
    return Path(os.environ.get("PCNC_RUN") or "/run/pcnc")


def state_folder() -> Path:
    """Where records are kept, which do: $PCNC_STATE, else $PCNC_RUN, else /var/lib/pcnc."""
    return Path(os.environ.get("PCNC_STATE") or os.environ.get("PCNC_RUN") or "/var/lib/pcnc")


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turns a refused system call into the problem that it amounts to. `doing` completes "cannot …"."""
    try:
        yield
    except OSError as error:
        raise problem_from_errno(error, doing) from None


def check_name(name: str) -> None:
    """RuntimeProblem `bad-name` unless it can name a service."""
    if not _NAME.fullmatch(name):
        help = "a letter first, then letters, digits, `-` and `_`, 32 at most"
        raise RuntimeProblem("bad-name", f"`{name}` cannot name a service", help)


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of one service lies."""

    name: str
    folder: Path
    pins: Path

    @property
    def state(self) -> Path:
        """The state of the whole, as it is to last."""
        return self.folder / "state.json"

    @property
    def pending(self) -> Path:
        """The state on its way to the next one that lasts. Another start of the machine does not know the file."""
        return self.folder / f"pending-{boot_id()}.json"

    @property
    def bundles(self) -> Path:
        """The copies of bundles, each a folder."""
        return self.folder / "bundles"

    @property
    def sources(self) -> Path:
        """The sources, each a file."""
        return self.folder / "sources"

    @property
    def history(self) -> Path:
        """What came into force, and when."""
        return self.folder / "history.jsonl"

    @property
    def lock(self) -> Path:
        """The file whose lock whoever changes the service holds."""
        return run_folder() / f"{self.name}.lock"

    def exists(self) -> bool:
        """Whether anything is there of the service: at least what a load leaves that is killed at once."""
        return self.folder.exists() or self.pins.exists() or self.lock.exists()

    def record(self, generation: int) -> Path:
        """The record of a generation."""
        return self.folder / "generations" / f"{generation}.json"

    def generation(self, generation: int) -> Path:
        """The directory of a generation's pins."""
        return self.pins / f"g{generation}"

    def pinned_generations(self) -> tuple[int, ...]:
        """The generations that have a directory of pins, whole or not."""
        with suppress(FileNotFoundError):
            return tuple(sorted(int(found[1]) for name in os.listdir(self.pins) if (found := _GENERATION.fullmatch(name))))
        return ()

    # ---- records

    def read(self) -> State | None:
        """The state, None where none is written. RuntimeProblem `broken-record`."""
        return read_state(self.pending) or read_state(self.state)

    def write(self, state: State) -> None:
        """Writes the state. RuntimeProblem where the file cannot be written.

        One that is settled outlives a power failure as soon as this returns, and with it the record of the live generation. All
        others are there for the next command, should this one die.
        """
        with told(f"write {self.folder}"):
            if not state.settled:
                write_state(self.pending, state, durable=False)
                return
            is_new = not self.state.exists()
            with suppress(FileNotFoundError):
                sync(self.record(state.kept[0]))
                sync(self.record(0).parent)
            write_state(self.state, state, durable=True, instead=self.pending)
            if is_new:
                sync(self.folder.parent)
                sync(self.folder.parent.parent)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Another one after each change of the state. FileNotFoundError where none is written."""
        found = [os.stat(self.state)]
        with suppress(FileNotFoundError):
            found.append(os.stat(self.pending))
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def read_record(self, generation: int) -> Generation:
        """The record of a generation."""
        return read_generation(self.record(generation))

    def check_record(self, generation: int) -> None:
        """RuntimeProblem `broken-record` unless the record of a generation is as it was written; quicker than reading it."""
        try:
            read_sealed(self.record(generation))
        except FileNotFoundError:
            raise broken(self.record(generation), "it is not there") from None

    def write_record(self, generation: Generation) -> None:
        """Writes the record of a generation. RuntimeProblem where the file cannot be written."""
        path = self.record(generation.number)
        with told(f"write {path}"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_generation(path, generation)

    def make_folder(self) -> None:
        """Makes the folder of all that is written down, for its owner alone: rules tell much about a network."""
        with told(f"make {self.folder}"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove_files(self) -> None:
        """Removes all records and copies. First goes what makes another start of the machine bring the service back.

        OSError where something stays.
        """
        with suppress(OSError):
            self.state.unlink()
            sync(self.folder)
        shutil.rmtree(self.folder, onerror=_unless_gone)


def _unless_gone(_: object, __: str, raised: tuple[type[BaseException], BaseException, TracebackType]) -> None:
    if not issubclass(raised[0], FileNotFoundError):
        raise raised[1]


def place_of(name: str) -> Place:
    """Where a service of this name lies, loaded or not. RuntimeProblem `bad-name`, `no-bpffs`, `no-privilege`."""
    check_name(name)
    return Place(name, state_folder() / name, bpffs() / "pcnc" / name)


def names_with_records() -> tuple[str, ...]:
    """Every name that something is written down of, sorted."""
    with told(f"read {state_folder()}"):
        paths = [*state_folder().glob("*/state.json"), *state_folder().glob(f"*/pending-{boot_id()}.json")]
    return tuple(name for name in sorted({path.parent.name for path in paths}) if _NAME.fullmatch(name))


@contextmanager
def locked(name: str, wait: float = _WAIT) -> Iterator[None]:
    """Keeps every other command that changes this service out, for as long as the block runs.

    RuntimeProblem `busy` where another one is still at it after `wait` seconds. The kernel gives the lock back when its owner dies.
    """
    check_name(name)
    path = run_folder() / f"{name}.lock"
    with told(f"lock {path}"):
        fd = hold_lock(path, name, wait)
    try:
        yield
    finally:
        if not (state_folder() / name).exists():
            remove_lock(name)
            with suppress(OSError):
                os.rmdir(path.parent)
        os.close(fd)


def remove_lock(name: str) -> None:
    """Removes the lock's file, by whoever holds it."""
    (run_folder() / f"{name}.lock").unlink(missing_ok=True)
