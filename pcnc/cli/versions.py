"""What `load` and `swap` take: a source, which is compiled here and now, or a bundle that was built before."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pcnc.cli.compile_service import IN_WORDS, build_service, open_compiler, read_service, record_of
from pcnc.manifest import Hook, Toolchain
from pcnc.types import Type
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc_runtime.bundle import Bundle
    from pcnc_runtime.changes import SourceRecord


@dataclass(frozen=True, slots=True)
class Version:
    """A service that can be loaded: the types of its settings, its source where there is one, and what builds it."""

    settings: Mapping[str, Type]
    source: SourceRecord | None
    build: Callable[[], Bundle]


def open_version(
    path: str, service: str | None, hook: Hook | None, running: str = "", toolchain: Toolchain | None = None
) -> Version:
    """Reads a source or a bundle. A source is compiled for XDP where no hook is given; a bundle has its own, and is compiled.

    Of a source with several services the one of the name `running` is meant where no other is asked for.

    CompileError; RuntimeProblem `other-hook`, `other-toolchain`, `no-such-service`, `which-service`, those of reading and of
    `choose_compiler`.
    """
    if not os.path.isdir(path):
        from pcnc_runtime.toolchains import toolchain_of

        chosen = read_service(path, service, otherwise=running)
        settings = {config.name: config.type for config in chosen.service.configs}
        at: Hook = hook or "xdp"
        compiler = open_compiler(toolchain)
        record = record_of(chosen, at, toolchain_of(compiler))
        return Version(settings, record, lambda: build_service(chosen, at, compiler))
    from pcnc_runtime.bundle import read_bundle

    bundle = read_bundle(Path(path))
    manifest = bundle.manifest
    if hook not in (None, manifest.hook):
        raise RuntimeProblem("other-hook", f"{path} was built for {manifest.hook}", f"build it with --hook {hook}")
    if toolchain not in (None, manifest.toolchain):
        text = f"{path} was compiled with {IN_WORDS[manifest.toolchain]}"
        raise RuntimeProblem("other-toolchain", text, f"build it with --toolchain {toolchain}")
    if service not in (None, manifest.service):
        raise RuntimeProblem("no-such-service", f"{path} has no service `{service}`", f"it has `{manifest.service}`")
    return Version({config.name: config.type for config in manifest.configs}, None, lambda: bundle)
