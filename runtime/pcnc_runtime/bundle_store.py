"""The copies of bundles that a loaded service keeps, so that the originals may go, and the variants compiled since.

A copy holds what a change of rules reads, and no more: the manifest without variants and rules, and each variant in a folder
named after its shape. A folder is written beside, synced and renamed, so what is there is whole; and each object is checked
against its hash when it is read, for what lies here for weeks may be changed by others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pcnc.manifest import Manifest, ManifestError, Variant, from_json, manifest_from_json, to_json
from pcnc.shape import Shape
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.record_files import broken, read_json, sealed, sync, write_json

if TYPE_CHECKING:
    from pcnc_runtime.bundle import Bundle

VARIANTS = "variants"
"""The folder of a copy in which its variants lie, each a folder."""

_MANIFEST, _VARIANT = "manifest.json", "variant.json"


@dataclass(frozen=True, slots=True)
class StoredVariant:
    """A variant and the folder that holds its objects."""

    key: str
    variant: Variant
    folder: Path
    hashes: Mapping[str, str]

    def read(self, path: str) -> bytes:
        """An object, by the path that its plan names. RuntimeProblem `broken-record` where it is not what was stored."""
        return _read(self.folder, path, self.hashes)

    def discard(self) -> None:
        """Takes it out of the copy."""
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)


class StoredBundle:
    """A copy of a bundle in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def digest(self) -> str:
        """What names it."""
        return self.folder.name

    @property
    def manifest(self) -> Manifest:
        """The manifest, without variants and without the rules of the file. RuntimeProblem `broken-record`."""
        return _read_manifest(self.folder / _MANIFEST)

    def read(self, path: str) -> bytes:
        """The object of an entry program. RuntimeProblem `broken-record` where it is not what was stored."""
        return _read(self.folder, path, dict(self.manifest.hashes))

    def variant(self, key: str) -> StoredVariant:
        """The variant of that key. RuntimeProblem `broken-record`."""
        folder = self.folder / VARIANTS / key
        try:
            plan, hashes = read_json(folder / _VARIANT)
            return StoredVariant(key, from_json(Variant, plan, "variant"), folder, hashes)
        except FileNotFoundError:
            raise broken(folder / _VARIANT, "it is not there") from None
        except (ManifestError, ValueError, TypeError) as error:
            raise broken(folder / _VARIANT, str(error)) from None

    def exact(self, shape: Shape) -> StoredVariant | None:
        """The variant for just this shape."""
        key = _key(shape)
        return self.variant(key) if (self.folder / VARIANTS / key / _VARIANT).exists() else None

    def covering(self, shape: Shape) -> StoredVariant:
        """The smallest variant that runs rules of this shape right. RuntimeProblem `broken-bundle` where there is none."""
        kept = [self.variant(key) for key in sorted(os.listdir(self.folder / VARIANTS)) if not key.startswith(".")]
        found = replace(self.manifest, variants=tuple(each.variant for each in kept)).variant_for(shape)
        if found is None:
            raise RuntimeProblem("broken-bundle", "the bundle has no code for rules like these", "build it again")
        return next(each for each in kept if each.variant is found)

    def add(self, variant: Variant, files: Mapping[str, bytes]) -> StoredVariant:
        """Takes in a variant. RuntimeProblem `broken-bundle` where an object is missing."""
        key = _key(variant.shape)
        folder = self.folder / VARIANTS / key
        if not folder.exists():
            _write_folder(folder, _variant_files(variant, files))
        return self.variant(key)


@lru_cache(maxsize=8)
def _read_manifest(path: Path) -> Manifest:
    """A manifest never changes: the folder that it lies in is named after it."""
    try:
        return manifest_from_json(read_json(path))
    except FileNotFoundError:
        raise broken(path, "it is not there") from None
    except ManifestError as error:
        raise broken(path, str(error)) from None


def _key(shape: Shape) -> str:
    return sha256(shape.key.encode()).hexdigest()[:16]


def store_bundle(bundle: Bundle, folder: Path) -> StoredBundle:
    """Copies a bundle into the folder of copies, unless it is there already."""
    digest = sha256(json.dumps(to_json(bundle.manifest)).encode()).hexdigest()[:16]
    copy = StoredBundle(folder / digest)
    if not copy.folder.exists():
        tables = tuple(replace(table, rules=()) for table in bundle.manifest.tables)
        objects = {entry.object: _object(bundle.files, entry.object) for entry in bundle.manifest.entries}
        manifest = replace(bundle.manifest, tables=tables, variants=(), hashes=tuple(_hashes(objects).items()))
        files = {_MANIFEST: sealed(to_json(manifest)), **objects}
        for variant in bundle.manifest.variants:
            where = f"{VARIANTS}/{_key(variant.shape)}"
            files.update((f"{where}/{path}", content) for path, content in _variant_files(variant, bundle.files).items())
        _write_folder(copy.folder, files)
    return copy


def _variant_files(variant: Variant, files: Mapping[str, bytes]) -> dict[str, bytes]:
    objects = {block.object: _object(files, block.object) for chain in variant.chains for block in chain.blocks}
    return {_VARIANT: sealed([to_json(variant), _hashes(objects)]), **objects}


def _hashes(objects: Mapping[str, bytes]) -> dict[str, str]:
    return {path: sha256(content).hexdigest() for path, content in objects.items()}


def _object(files: Mapping[str, bytes], path: str) -> bytes:
    parts = PurePosixPath(path)
    if path not in files or parts.is_absolute() or ".." in parts.parts:
        raise RuntimeProblem("broken-bundle", f"the bundle lacks {path}", "build it again")
    return files[path]


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    import shutil
    import tempfile

    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for path, content in files.items():
                target = beside / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            # All are written before the first is synced: that one takes the others along.
            for path in files:
                sync(beside / path)
            for made in (beside, *(path for path in beside.rglob("*") if path.is_dir())):
                sync(made)
            os.rename(beside, folder)
            for above in (folder.parent, folder.parent.parent):
                sync(above)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise problem_from_errno(error, f"write {folder}") from None


def _read(folder: Path, path: str, hashes: Mapping[str, str]) -> bytes:
    try:
        content = (folder / path).read_bytes()
    except OSError as error:
        raise broken(folder / path, error.strerror or str(error)) from None
    if sha256(content).hexdigest() != hashes.get(path):
        raise broken(folder / path, "it was cut short, or changed by somebody")
    return content


# ---- sources


def store_source(source: SourceRecord | None, folder: Path) -> str:
    """Keeps a source, and returns by what to find it again; empty where there is none."""
    if source is None:
        return ""
    data = [source.path, source.text, source.service, source.hook, source.toolchain]
    digest = sha256(json.dumps(data).encode()).hexdigest()[:16]
    path = folder / f"{digest}.json"
    if not path.exists():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(path, data)
        except OSError as error:
            raise problem_from_errno(error, f"write {path}") from None
    return digest


def stored_source(digest: str, folder: Path) -> SourceRecord | None:
    """The source that was kept under this digest, None for none. RuntimeProblem `broken-record`."""
    if not digest:
        return None
    path = folder / f"{digest}.json"
    try:
        return SourceRecord(*read_json(path))
    except (TypeError, FileNotFoundError) as error:
        raise broken(path, str(error)) from None
