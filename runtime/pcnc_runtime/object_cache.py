"""What was compiled before, in the user's cache: files that are whole or not there. A cache that cannot be is done without."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def recall(key: str) -> bytes:
    """What was remembered under a key; nothing where there is no such file or no cache."""
    folder = _folder()
    if folder is not None:
        with suppress(OSError):
            return (folder / key).read_bytes()
    return b""


def remember(key: str, content: bytes) -> None:
    """Writes a file of the cache whole or not at all; a folder that cannot be written to is no obstacle."""
    folder = _folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(beside, folder / key)
        except OSError:
            os.unlink(beside)
            raise


def _folder() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "pcnc" / "objects" if os.path.isabs(base) else None
