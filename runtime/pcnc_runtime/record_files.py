"""Files that are there whole or not at all, and JSON in them that tells whether somebody changed it.

What has to outlive a power failure is synced, with the folder that names it; what only has to outlive the command is not.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from pcnc_runtime.errors import RuntimeProblem

_BEFORE, _BETWEEN, _AFTER = b'{"sha256":"', b'","record":', b"}"
_DIGEST = 64


def write_file(path: Path, content: bytes, *, durable: bool = True, instead: Path | None = None) -> None:
    """Writes a file whole or not at all; `durable`: file and name are on their medium when this returns.

    `instead` is another file that is obsolete with this one: it becomes this one, and is never beside it.
    """
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if instead is not None:
            os.rename(beside, instead)
            beside = instead
        os.rename(beside, path)
    except BaseException:
        if beside != instead:
            beside.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Sees what a file holds, or which names a folder has, on its medium."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, data: Any, *, durable: bool = True, instead: Path | None = None) -> None:
    """Writes compact JSON with its hash, whole or not at all. See `write_file`."""
    write_file(path, sealed(data), durable=durable, instead=instead)


def sealed(data: Any) -> bytes:
    """Compact JSON with its hash, as `read_json` reads it."""
    body = json.dumps(data, separators=(",", ":")).encode()
    return b"".join((_BEFORE, sha256(body).hexdigest().encode(), _BETWEEN, body, _AFTER))


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote. FileNotFoundError; RuntimeProblem `broken-record` where it is not that any more."""
    body = read_sealed(path)
    try:
        return json.loads(body)
    except ValueError as error:
        raise broken(path, str(error)) from None


def read_sealed(path: Path) -> bytes:
    """The text of that JSON, not looked at but for its hash. Problems as with `read_json`."""
    content = path.read_bytes()
    start = len(_BEFORE) + _DIGEST + len(_BETWEEN)
    head, body = content[:start], content[start : -len(_AFTER)]
    if not head.startswith(_BEFORE) or not head.endswith(_BETWEEN) or not content.endswith(_AFTER):
        raise broken(path, "it is cut short, or no record at all" if content else "it is empty")
    if head[len(_BEFORE) : -len(_BETWEEN)] != sha256(body).hexdigest().encode():
        raise broken(path, "it was cut short, or changed by somebody")
    return body


def broken(path: Path, reason: str) -> RuntimeProblem:
    """The problem of a record that cannot be read."""
    return RuntimeProblem("broken-record", f"{path} cannot be read: {reason}", "unload the service and load it anew")
