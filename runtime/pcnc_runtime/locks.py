"""One command at a time changes a service: the lock, who holds it, and what is said to who waits for it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from pcnc_runtime.errors import RuntimeProblem

_BETWEEN_TRIES = 0.01
_PATIENCE = 1.0
"""Seconds of silence."""

_LOCKS, _PROCESSES = Path("/proc/locks"), Path("/proc")

telling: ContextVar[Callable[[str], None] | None] = ContextVar("telling", default=None)
"""Hears, once, that a command waits for another, and for which: whoever has somebody at the keyboard sets it."""


def hold_lock(path: Path, name: str, wait: float) -> int:
    """Takes the lock of a service; the descriptor that holds it, for the caller to close.

    RuntimeProblem `busy` where another command holds it for `wait` seconds. The kernel gives it back when its owner dies.
    """
    began, told = time.monotonic(), False
    while (fd := _try(path)) is None:
        waited = time.monotonic() - began
        if waited > wait:
            text = f"another command has been changing `{name}` for {wait:.0f} s{_in_brackets(holder(path))}"
            raise RuntimeProblem("busy", text, "wait for it to end, or end it")
        if waited > _PATIENCE and not told and (tell := telling.get()) is not None:
            told = True
            tell(f"another command is changing `{name}`{_in_brackets(holder(path))}; waiting")
        time.sleep(_BETWEEN_TRIES)
    return fd


def _try(path: Path) -> int | None:
    """The descriptor of the lock, None where somebody else has it."""
    # The last service to go takes the folder along.
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever unloads removes the file: a lock on a file that has no name any more is none.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
            os.close(fd)
            raise
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _in_brackets(holder: str) -> str:
    return f" ({holder})" if holder else ""


def holder(path: Path) -> str:
    """Who holds a lock: ``pid 7, `pcnc swap fw fw.pcn` ``; empty where nobody does, or it cannot be told, as from a container."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in _LOCKS.read_text().splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 fd:00:5678 0 EOF; who waits has an arrow behind the number.
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == wanted and int(fields[4]) > 0:
                return f"pid {fields[4]}{_command_of(int(fields[4]))}"
    return ""


def _command_of(pid: int) -> str:
    with suppress(OSError):
        words = [os.fsdecode(word) for word in (_PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0") if word]
        if words and Path(words[0]).name.startswith("python"):
            words = words[2:] if words[1:2] == ["-m"] else words[1:]
        if words:
            called = "pcnc" if words[0] == "pcnc.cli" else Path(words[0]).name
            shown = " ".join(" ".join([called, *words[1:]]).split())
            return f", `{shown if len(shown) <= 60 else f'{shown[:59]}…'}`"
    return ""
