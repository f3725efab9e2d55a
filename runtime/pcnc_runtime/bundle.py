"""Bundles: a compiled service as a folder, with all that a target needs which has neither compiler nor source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pcnc.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Bundle:
    """A manifest and the files that it names, by path."""

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)


def build_bundle(manifest: Manifest, code: Mapping[str, str]) -> Bundle:
    """Compiles every C file that the plans name. Same input, same bytes. RuntimeProblem `no-clang`, `clang-refused`."""
    raise NotImplementedError


def write_bundle(bundle: Bundle, directory: Path) -> None:
    """Writes the folder, whole or not at all; one that holds a bundle is replaced. RuntimeProblem `not-a-bundle`, `cannot-write`."""
    raise NotImplementedError


def read_bundle(directory: Path) -> Bundle:
    """Reads a folder, hashes and references checked. RuntimeProblem `no-such-bundle`, `not-a-bundle`, `broken-bundle`."""
    raise NotImplementedError
