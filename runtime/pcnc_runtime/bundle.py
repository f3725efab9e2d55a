"""Bundles: a compiled service as a folder, with all that a target needs which has neither compiler nor source.

manifest.json names every file with its sha256; the C is there to read, the objects to load. Nothing of the machine that built
it goes into a bundle: the same input gives the same bytes.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pcnc.line_directives import without_directives
from pcnc.manifest import BlockPlan, EntryPlan, Manifest, ManifestError, manifest_from_json, to_json
from pcnc_runtime.check_manifest import check_manifest
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc_runtime.build import Compiler

MANIFEST = "manifest.json"
_LARGEST_FILE = 256 << 20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@dataclass(frozen=True, slots=True)
class Bundle:
    """A manifest and the files that it names, by path."""

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)


def build_bundle(manifest: Manifest, code: Mapping[str, str], compiler: Compiler | None = None) -> Bundle:
    """Compiles every C file that the plans name. Same input, same bytes.

    `code` is every file of text by path, headers included, with its line directives; those go into the objects, and not into the
    files. Without a `compiler` it is the one that `choose_compiler` takes. RuntimeProblem as with `compile_sources`.
    """
    from pcnc_runtime.toolchains import choose_compiler, toolchain_of  # what loads a bundle needs no compiler

    chosen = compiler or choose_compiler().compiler
    programs = list(planned_programs(manifest))
    objects = compile_objects({program.code: code[program.code] for program in programs}, code, chosen)
    files = {path: without_directives(text).encode() for path, text in code.items()}
    files.update((program.object, objects[program.code]) for program in programs)
    hashes = tuple((path, _hash(content)) for path, content in sorted(files.items()))
    made = replace(manifest, hashes=hashes, toolchain=toolchain_of(chosen), toolchain_version=chosen.version)
    return Bundle(made, dict(sorted(files.items())))


def compile_objects(sources: Mapping[str, str], code: Mapping[str, str], compiler: Compiler | None = None) -> dict[str, bytes]:
    """C texts by path to objects by the same paths; the headers are those of `code`.

    Without a `compiler` it is the one that `choose_compiler` takes. RuntimeProblem as with `compile_sources`.
    """
    from pcnc_runtime.build import compile_sources  # what loads a bundle needs no compiler
    from pcnc_runtime.toolchains import choose_compiler

    first: dict[str, str] = {}
    for path, text in sources.items():
        first.setdefault(text, path)
    headers = {PurePosixPath(path).name: (path, text) for path, text in code.items() if path.endswith(".h")}
    whole = {path: _with_headers(text, PurePosixPath(path).name, headers) for text, path in first.items()}
    objects = compile_sources(whole, compiler=compiler or choose_compiler().compiler)
    return {path: objects[first[text]] for path, text in sources.items()}


def _with_headers(text: str, name: str, headers: Mapping[str, tuple[str, str]]) -> str:
    """The C of this name with its headers in the places where it includes them, so that clang needs nothing but this text."""
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        included = line.removeprefix('#include "').removesuffix('"')
        if included != line and included in headers:
            path, content = headers[included]
            # Line markers as a preprocessor writes them: 1 enters an included file, 2 returns from it.
            lines[number] = f'# 1 "{path}" 1\n{content}\n# {number + 2} "{name}" 2'
    return "\n".join(lines) + "\n"


def planned_programs(manifest: Manifest) -> Iterator[EntryPlan | BlockPlan]:
    """Everything that has a C file and an object."""
    yield from manifest.entries
    for variant in manifest.variants:
        for chain in variant.chains:
            yield from chain.blocks


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()


# ---- writing


def write_bundle(bundle: Bundle, directory: Path) -> None:
    """Writes the folder, whole or not at all; one that holds a bundle is replaced.

    RuntimeProblem `not-a-bundle` where something else is there, `cannot-write`.
    """
    try:
        there = _what_is_at(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            beside.chmod(0o755)
            for path, content in bundle.files.items():
                target = beside / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            (beside / MANIFEST).write_text(json.dumps(with_seal(to_json(bundle.manifest)), indent=1) + "\n")
            if there:
                _exchange(beside, directory)
            else:
                os.rename(beside, directory)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        text = f"cannot write the bundle to {directory}: {error.strerror or error}"
        raise RuntimeProblem("cannot-write", text, errno=error.errno or 0) from None


def with_seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as JSON with its `seal`, the sha256 of all else that it says; how it is laid out does not matter."""
    rest = {name: value for name, value in manifest.items() if name != "seal"}
    return {**rest, "seal": _hash(json.dumps(rest, separators=(",", ":"), sort_keys=True).encode())}


def _what_is_at(directory: Path) -> bool:
    """Whether something is there that may be replaced."""
    if not os.path.lexists(directory):
        return False
    help = "choose another folder, or remove it first"
    if directory.is_symlink() or not directory.is_dir():
        raise RuntimeProblem("not-a-bundle", f"{directory} is there, and is no folder", help)
    if os.listdir(directory):
        try:
            is_bundle = "format" in json.loads((directory / MANIFEST).read_bytes())
        except (OSError, ValueError, TypeError):
            is_bundle = False
        if not is_bundle:
            raise RuntimeProblem("not-a-bundle", f"{directory} holds something else than a bundle", help)
    return True


def _exchange(beside: Path, directory: Path) -> None:
    """Swaps two folders in one step where the filesystem can, else in two."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(beside), os.fsencode(directory)
    if hasattr(libc, "renameat2") and libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    old = beside.with_name(f"{beside.name}-old")
    os.rename(directory, old)
    try:
        os.rename(beside, directory)
    except OSError:
        os.rename(old, directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


# ---- reading


def read_bundle(directory: Path) -> Bundle:
    """Reads a folder; every hash and reference is checked.

    RuntimeProblem `no-such-bundle`; `not-a-bundle` where there is no manifest of this format; `broken-bundle` where a file is
    missing, was changed, or is not what the manifest says.
    """
    manifest = _read_manifest(directory)
    check_manifest(manifest)
    files = {}
    for path, wanted in manifest.hashes:
        content = _read_file(directory, path)
        if _hash(content) != wanted:
            raise _broken(f"{directory / path} was changed since the bundle was built")
        files[path] = content
    for program in planned_programs(manifest):
        if program.object not in files:
            raise _broken(f"the manifest of {directory} names {program.object}, but not its hash")
    return Bundle(manifest, files)


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    if not directory.is_dir():
        if not os.path.lexists(directory):
            raise RuntimeProblem("no-such-bundle", f"there is no {directory}")
        raise RuntimeProblem("not-a-bundle", f"{directory} is no folder")
    if not os.path.lexists(path):
        help = f"`pcnc build FILE -o {directory}` makes one"
        raise RuntimeProblem("not-a-bundle", f"{directory} holds no {MANIFEST}", help)
    try:
        data = json.loads(_read_file(directory, MANIFEST))
        seal = data.pop("seal", None) if isinstance(data, dict) else None
        manifest = manifest_from_json(data)
    except (ManifestError, ValueError, RecursionError) as error:
        raise RuntimeProblem("not-a-bundle", f"{path}: {error}") from None
    if seal != with_seal(data)["seal"]:
        raise _broken(f"{path} was changed since the bundle was built")
    return manifest


def _read_file(directory: Path, path: str) -> bytes:
    """A plain file within the folder: nothing that links lead to, and nothing that never ends."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise _broken(f"the manifest of {directory} names a file outside of it: {path}")
    where = directory / path
    try:
        if not where.parent.resolve().is_relative_to(directory.resolve()):
            raise _broken(f"{where} leads out of the bundle")
        with open(os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
                raise _broken(f"{where} is {'too large' if stat.S_ISREG(found.st_mode) else 'no plain file'}")
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise _broken(f"{directory} lacks {path}") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _broken(f"{where} is a link") from None
        if error.errno == errno.ENXIO:
            raise _broken(f"{where} is no plain file") from None
        raise _broken(f"cannot read {where}: {error.strerror}") from None
    except ValueError as error:
        raise _broken(f"cannot read {where}: {error}") from None


def _broken(text: str) -> RuntimeProblem:
    return RuntimeProblem("broken-bundle", text, "build it again")
