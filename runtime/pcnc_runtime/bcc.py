"""BCC as a compiler: its library is found here, and run in processes of its own (`run_bcc.py`), each for a share of the texts."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.object_cache import recall, remember
from pcnc_runtime.refusals import read_clang_errors

CPU = "v3"
FLAGS = (
    *("--target=bpf", f"-mcpu={CPU}", "-g", "-Wall", "-Wextra", "-Werror"),
    *("-fbracket-depth=4096", "-fno-strict-aliasing", "-fno-builtin", "-fdebug-compilation-dir=.", "-fno-ident"),
)
_LIBRARY = "libbcc.so.0"
_INSTALL = "install it (Debian: apt-get install libbpfcc), or load a bundle built elsewhere"
_PROGRAM = Path(__file__).with_name("run_bcc.py")
_TIMEOUT = 120.0  # seconds that one text may take
_ASKS_FOR_VERSION = 'const char version[] __attribute__((section("who"), used)) = __VERSION__;'
_VERSION = re.compile(rb"[ -~]*[Cc]lang [0-9.]+[ -~]*")


@dataclass(frozen=True, slots=True)
class Bcc:
    """A BCC that can be run, and the versions of it and of the clang in it."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Text:
    """C to compile. `files` are sources whose lines it names, by file name."""

    name: str
    text: str
    files: Mapping[str, str]


def find_bcc() -> Bcc:
    """The BCC to use: $PCNC_LIBBCC, else libbcc.so.0 where libraries lie.

    RuntimeProblem `no-bcc` where there is none, or it does not do.
    """
    chosen = os.environ.get("PCNC_LIBBCC")
    path = next((found for found in ([chosen] if chosen else _candidates()) if os.path.isfile(found)), None)
    if path is None:
        raise RuntimeProblem("no-bcc", f"there is no `{chosen}`" if chosen else "there is no BCC", _INSTALL)
    return Bcc(path, _version(path))


def _candidates() -> Sequence[str]:
    triplets = (sysconfig.get_config_var("MULTIARCH"), f"{os.uname().machine}-linux-gnu")
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    folders += [
        f"/usr/{local}lib{below}" for local in ("", "local/") for below in (*(f"/{each}" for each in triplets if each), "64", "")
    ]
    return [f"{folder}/{_LIBRARY}" for folder in folders]


def _version(path: str) -> str:
    """`BCC 0.26.0 (Debian Clang 14.0.6)`, remembered on disk for as long as the library stays the same."""
    real = os.path.realpath(path)
    about = os.stat(real)
    digest = sha256(f"{real}\0{about.st_mtime_ns}\0{about.st_size}".encode()).hexdigest()
    key = f"bcc-{digest}.version"
    if line := recall(key).decode(errors="replace"):
        return line
    # The library does not say which clang is in it, but that clang does.
    (made,) = _run(path, [Text("version", _ASKS_FOR_VERSION, {})])
    found = _VERSION.search(made)
    number = os.path.basename(real).partition(".so.")[2]
    line = f"BCC {number} ({found[0].decode().strip() if found else 'clang'})"
    remember(key, line.encode())
    return line


def compile_with_bcc(bcc: Bcc, texts: Sequence[Text]) -> list[bytes]:
    """Objects in the order of the texts, as many at once as there are CPUs.

    RuntimeProblem `no-bcc`, `bcc-refused` with the words of BCC as `log`.
    """
    shares = min(len(texts), os.cpu_count() or 1)
    if shares < 2:
        return _run(bcc.path, texts)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(shares) as pool:
        done = list(pool.map(lambda first: _run(bcc.path, texts[first::shares]), range(shares)))
    return [done[index % shares][index // shares] for index in range(len(texts))]


def _run(path: str, texts: Sequence[Text]) -> list[bytes]:
    if not texts:
        return []
    # Isolated: whatever lies in the folder of the user, or is meant for the user's own Python, is not for this one.
    command = [sys.executable, "-I", "-S", str(_PROGRAM)]
    try:
        with tempfile.TemporaryDirectory(prefix="pcnc-bcc-") as folder:
            asked: list[dict[str, Any]] = [{"library": path, "cpu": CPU, "flags": FLAGS, "folder": folder}]
            asked += [{"text": each.text, "files": dict(each.files)} for each in texts]
            done = subprocess.run(
                command,
                input="".join(f"{json.dumps(each)}\n" for each in asked).encode(),
                capture_output=True,
                timeout=_TIMEOUT * len(texts),
                check=False,
            )
    except subprocess.TimeoutExpired:
        names = ", ".join(f"`{each.name}`" for each in texts)
        raise RuntimeProblem("bcc-refused", f"BCC took more than {_TIMEOUT:.0f} s for each of {names}") from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    words = done.stderr.decode(errors="replace")
    if not answers or answers[0]["cannot"]:
        reason = answers[0]["cannot"] if answers else words.strip().rpartition("\n")[2]
        raise RuntimeProblem("no-bcc", f"`{path}` does not do as BCC: {reason}", _INSTALL, log=words)
    for each, answer in zip(texts, answers[1:], strict=False):
        if (refusal := answer.get("refused")) is not None:
            raise _refused(each.name, refusal)
    if len(answers) <= len(texts):
        raise _refused(texts[len(answers) - 1].name, words or "the process that runs BCC ended")
    return [base64.b64decode(answer["object"]) for answer in answers[1:]]


def _refused(name: str, words: str) -> RuntimeProblem:
    refusal = read_clang_errors(words, name)
    return RuntimeProblem("bcc-refused", f"BCC refuses `{name}`: {refusal.reason}", log=words, refusal=refusal)
