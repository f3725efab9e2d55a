"""A clang that spoils the C before it compiles it: the kernel's real verifier refuses what comes of that."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path

from pcnc_runtime.build import find_clang

BYTES = ("u8 *at = pcnc_bytes(ctx, frame->ipv4_at, 20);", "u8 *at = pcnc_start(ctx) + frame->ipv4_at;")
"""A header is written without a look at where the frame ends."""

_CLANG = """#!{python} -IS
import os, subprocess, sys
if "--version" in sys.argv:
    os.execv({clang!r}, [{clang!r}, "--version"])
text = sys.stdin.read()
sys.exit(subprocess.run([{clang!r}, *sys.argv[1:]], input=text.replace(os.environ["OLD"], os.environ["NEW"]).encode()).returncode)
"""


def spoiling_clang(folder: Path, old: str, new: str) -> dict[str, str]:
    """The variables that make a command use a clang, made in this folder, which replaces one text by another in all C."""
    clang = folder / "spoiling-clang"
    clang.write_text(_CLANG.format(python=os.path.realpath(sys.executable), clang=find_clang().path))
    clang.chmod(0o755)
    # It says the version of the real one: what it compiles must not be taken for that one's.
    cache = folder / f"cache-{sha256(f'{old}|{new}'.encode()).hexdigest()[:8]}"
    return {"PCNC_CLANG": str(clang), "OLD": old, "NEW": new, "XDG_CACHE_HOME": str(cache)}
