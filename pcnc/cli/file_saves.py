"""When a file is saved, however that is done: written in place, renamed into place, through links; gone, and back."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

LOOK_EVERY = 1000
"""Milliseconds after which one looks without having been told: a folder on a network, or made anew, tells nothing."""
QUIET, LONGEST_BURST = 50, 300
"""Milliseconds without another change that end a burst of them, and after which one is looked at though it goes on."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one saved state of a file from another, and when it came about (seconds of the epoch)."""

    device: int
    inode: int
    size: int
    modified: int
    saved: float


def stamp_of(path: str) -> Stamp | None:
    """The state of a file now, None where there is none."""
    try:
        about, link = os.stat(path), os.lstat(path)
    except OSError:
        return None
    # What is renamed into place, or linked anew, was modified earlier: the inode says when.
    saved = max(about.st_ctime, link.st_ctime)
    return Stamp(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, saved)


def same(one: Stamp | None, other: Stamp | None) -> bool:
    """Whether nothing was saved between two looks; a change of rights, or another link to the file, is no save."""
    if one is None or other is None:
        return one is other
    return (one.device, one.inode, one.size, one.modified) == (other.device, other.inode, other.size, other.modified)


def moments(path: str) -> Generator[None, None, None]:
    """Comes back at once, whenever something happens in the file's folders, and at least once a second."""
    from watchfiles import watch

    yield
    polling = False
    while True:
        folders = _folders(path)
        try:
            told = watch(
                *folders,
                watch_filter=None,
                recursive=False,
                debounce=LONGEST_BURST,
                step=QUIET,
                rust_timeout=LOOK_EVERY,
                yield_on_timeout=True,
                force_polling=polling or None,
                ignore_permission_denied=True,
            )
            with closing(told):
                # What happened before the folders were watched is seen now.
                yield
                for _ in told:
                    yield
                    if _folders(path) != folders:
                        break
        except FileNotFoundError:
            # A folder has gone since it was listed.
            time.sleep(QUIET / 1000)
            yield
        except (OSError, RuntimeError):
            # The machine has no more inotify watches (OSError) or instances (the library's RuntimeError) to give.
            if polling:
                raise
            polling = True


def _folders(path: str) -> list[str]:
    """The folders in which something happens when the file is saved: its own, and those of what it is a link to."""
    found: dict[str, None] = {}
    ahead = os.path.abspath(path)
    for _ in range(40):  # as many links as Linux follows
        found[os.path.dirname(ahead)] = None
        try:
            ahead = os.path.join(os.path.dirname(ahead), os.readlink(ahead))
        except OSError:
            break
    found[os.path.dirname(os.path.realpath(path))] = None
    return [folder for folder in found if os.path.isdir(folder)] or [os.path.abspath(os.sep)]
