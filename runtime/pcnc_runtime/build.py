"""C to BPF objects, by clang or by BCC, which run as processes of their own, and a cache of what was compiled before.

The same text, headers, compiler and flags give the same bytes in whatever folder: nothing of the machine goes into an object.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import assert_never

from pcnc.line_directives import quoted_sources
from pcnc_runtime.bcc import FLAGS as _BCC_FLAGS
from pcnc_runtime.bcc import Bcc, Text, compile_with_bcc
from pcnc_runtime.elf import longest_program
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.object_cache import folder_of, recall, remember
from pcnc_runtime.refusals import read_clang_errors

_NAMES = ("clang", *(f"clang-{version}" for version in range(19, 13, -1)))
_FLAGS = (
    *("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"),
    *("-fbracket-depth=4096", "-fno-strict-aliasing", "-fno-builtin"),
    *("-fdebug-compilation-dir=.", "-fno-ident", "-x", "c", "-c", "-", "-o", "-"),
)
_TOO_LONG = "Branch target out of insn range"
_FARTHEST_JUMP = 1 << 15  # instructions: with no more than these none is farther
_REFUSES_FAR_JUMPS = 19
_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Clang:
    """A clang that can be run, and what its `--version` says first."""

    path: str
    version: str


Compiler = Clang | Bcc
"""What makes objects of C."""


def find_clang() -> Clang:
    """The clang to use: $PCNC_CLANG, else the first of clang, clang-19 … clang-14 on the PATH.

    RuntimeProblem `no-clang` where there is none, or it does not run.
    """
    chosen = os.environ.get("PCNC_CLANG")
    path = next((found for name in ((chosen,) if chosen else _NAMES) if (found := shutil.which(name))), None)
    if path is None:
        text = f"there is no `{chosen}`" if chosen else "there is no clang on the PATH"
        raise RuntimeProblem("no-clang", text, "install it (Debian: apt-get install clang), or load a bundle built elsewhere")
    return Clang(path, _version(path))


def _version(path: str) -> str:
    """The first line of `clang --version`, remembered on disk for as long as the binary stays the same."""
    real = os.path.realpath(path)
    about = os.stat(real)
    key = sha256(f"{real}\0{about.st_mtime_ns}\0{about.st_size}".encode()).hexdigest()
    if line := recall(f"clang-{key}.version").decode(errors="replace"):
        return line
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeProblem("no-clang", f"`{path}` does not run: {error}") from None
    line = done.stdout.decode(errors="replace").partition("\n")[0].strip()
    if done.returncode or "clang" not in line:
        raise RuntimeProblem("no-clang", f"`{path}` is not a clang", "set PCNC_CLANG to one")
    remember(f"clang-{key}.version", line.encode())
    return line


def compile_source(text: str, *, include: Path | None = None, name: str = "program") -> bytes:
    """One C text to one object. See `compile_sources`."""
    return compile_sources({name: text}, include=include)[name]


def compile_sources(
    texts: Mapping[str, str], *, include: Path | None = None, compiler: Compiler | None = None, use_cache: bool = True
) -> dict[str, bytes]:
    """C texts by name to objects by name, as many at once as there are CPUs, those compiled before from the cache.

    Without a `compiler` it is clang. `include` is the folder of the headers; quoted and angled includes are looked up there first.
    BCC takes no includes. Raises RuntimeProblem `no-clang`, `no-bcc`, `block-too-long`, or `clang-refused`, `bcc-refused` with the
    compiler's own words as `log`. A cache that cannot be read or written is done without.
    """
    chosen = compiler or find_clang()
    flags = _FLAGS if isinstance(chosen, Clang) else _BCC_FLAGS
    common = sha256("\0".join((chosen.version, *flags, _headers_digest(include))).encode()).digest()
    keys = {name: f"{sha256(common + text.encode()).hexdigest()}.o" for name, text in texts.items()}
    objects: dict[str, bytes] = {}
    for name, key in keys.items() if use_cache else ():
        if (kept := recall(key)).startswith(b"\x7fELF"):
            objects[name] = kept
    missing = [(name, text) for name, text in texts.items() if name not in objects]
    for (name, _), made in zip(missing, _compile_with(chosen, missing, include), strict=True):
        if _cuts_jumps(chosen) and longest_program(made) > _FARTHEST_JUMP:
            raise _too_long(name)
        objects[name] = made
        if use_cache:
            remember(keys[name], made)
    return {name: objects[name] for name in texts}


def _compile_with(compiler: Compiler, sources: Sequence[tuple[str, str]], include: Path | None) -> list[bytes]:
    match compiler:
        case Clang():
            return _compile_all(compiler, sources, include)
        case Bcc():
            if include is not None:
                raise ValueError("BCC takes no folder of headers")
            return compile_with_bcc(compiler, [Text(name, text, quoted_sources(text)) for name, text in sources])
        case _:
            assert_never(compiler)


def _cuts_jumps(compiler: Compiler) -> bool:
    """Whether its LLVM writes a jump that is too far as a shorter one: 14 does so, 19 refuses; of those between, nobody knows."""
    found = re.search(r"[Cc]lang (?:version )?([0-9]+)", compiler.version)
    return found is None or int(found[1]) < _REFUSES_FAR_JUMPS


def _too_long(name: str) -> RuntimeProblem:
    text = f"`{name}` is too long for one eBPF program: its jumps reach 32,767 instructions"
    return RuntimeProblem("block-too-long", text, "divide the stage, or what its actions do, into several stages")


def _compile_all(clang: Clang, sources: Sequence[tuple[str, str]], include: Path | None) -> list[bytes]:
    if len(sources) < 2:
        return [_compile(clang, source, include) for source in sources]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(sources), os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda source: _compile(clang, source, include), sources))


def _compile(clang: Clang, source: tuple[str, str], include: Path | None) -> bytes:
    name, text = source
    try:
        with folder_of(quoted_sources(text)) as folder:
            done = subprocess.run(
                _command(clang, include), cwd=folder, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False
            )
    except OSError as error:
        raise RuntimeProblem("no-clang", f"`{clang.path}` does not run: {error}") from None
    except subprocess.TimeoutExpired:
        raise RuntimeProblem("clang-refused", f"clang took more than {_TIMEOUT:.0f} s over `{name}`") from None
    words = done.stderr.decode(errors="replace")
    if done.returncode and _TOO_LONG in words:
        raise _too_long(name)
    if done.returncode:
        refusal = read_clang_errors(words, name)
        raise RuntimeProblem("clang-refused", f"clang refuses `{name}`: {refusal.reason}", log=words, refusal=refusal)
    return done.stdout


def _command(clang: Clang, include: Path | None) -> tuple[str, ...]:
    include = include.absolute() if include is not None else None
    given = ("-I", str(include), f"-ffile-prefix-map={include}=include") if include is not None else ()
    return (
        os.path.abspath(clang.path),
        *_FLAGS,
        *given,
        *(word for folder in _system_includes() for word in ("-idirafter", folder)),
    )


@cache
def _system_includes() -> tuple[str, ...]:
    """Where <asm/types.h> lies: Debian keeps it per architecture, and clang does not look there for a BPF target."""
    triplet = sysconfig.get_config_var("MULTIARCH")
    candidates = (*((f"/usr/include/{triplet}",) if triplet else ()), f"/usr/include/{os.uname().machine}-linux-gnu")
    return next(((folder,) for folder in candidates if os.path.isfile(f"{folder}/asm/types.h")), ())


def _headers_digest(include: Path | None) -> str:
    if include is None:
        return ""
    digest = sha256()
    for header in sorted(include.rglob("*.h")):
        content = header.read_bytes()
        digest.update(f"{header.relative_to(include)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
