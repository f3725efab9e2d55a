"""What was compiled before, in the user's cache: files that are whole or not there. A cache that cannot be is done without."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
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
        if not _write_unnamed(folder / key, content):
            _write_beside(folder / key, content)


def _write_unnamed(path: Path, content: bytes) -> bool:
    """Writes a file that has no name before it is whole, so that who is killed leaves none; False where that cannot be."""
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        try:
            # Python asks for linkat(2), which alone follows this link, only where it is given a folder.
            os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle, follow_symlinks=True)
        except OSError:
            return False
    return True


def _write_beside(path: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise


@contextmanager
def folder_of(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder that holds these texts by name, and no others; a text whose name no file can have is left out.

    It stays in the cache, named after what it holds: who is killed leaves nothing half done behind, and those who need the same
    one at the same time do not disturb each other. Where the cache cannot hold it it is a temporary one.
    """
    kept = _kept_folder(files)
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="pcnc-") as folder:
        for name, text in files.items():
            with suppress(OSError):
                _write_over(Path(folder) / name, text.encode())
        yield Path(folder)


def _kept_folder(files: Mapping[str, str]) -> Path | None:
    cache = _folder()
    if cache is None:
        return None
    digest = sha256("\0".join(part for pair in sorted(files.items()) for part in pair).encode()).hexdigest()[:32]
    folder = cache / "quoted" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _write_over(folder / name, text.encode())
    except OSError:
        return None
    return folder


def _write_over(path: Path, content: bytes) -> None:
    """Sees to it that a file holds this. One that does is left alone, and none is emptied first: others may be reading it."""
    with suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.truncate()
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _folder() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "pcnc" / "objects" if os.path.isabs(base) else None
