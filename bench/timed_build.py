"""A source compiled as `pcnc swap` compiles it, each part of the walk told as a phase of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pcnc.cli.compile_service import AS_WRITTEN, GENERAL, choose_service
from pcnc.compile import check, shape_of_file
from pcnc.lower import lower
from pcnc.optimise import optimise
from pcnc.shape import widest_shape
from pcnc.source import Source
from pcnc_ebpf.emit import emit
from pcnc_ebpf.plan import CompiledVariant, hook_of, plan_manifest, plan_variant
from pcnc_runtime.bundle import Bundle, build_bundle
from pcnc_runtime.phases import phase


def timed_build(text: str, path: str = "service.pcn") -> Bundle:
    """Compiles the only service of a text for XDP, in the phases `parse`, `optimise`, `emit` and `compile` (clang's).

    CompileError; RuntimeProblem `no-clang`, `clang-refused`.
    """
    with phase("parse"):
        program = check(Source(path, text)).program
        service = choose_service(program, None)
        written, widest = shape_of_file(service), widest_shape(service.schemas)
    shapes = {AS_WRITTEN: written, GENERAL: widest} if written != widest else {GENERAL: widest}
    variants: list[CompiledVariant] = []
    for name, shape in shapes.items():
        with phase("optimise"):
            pipelines = [optimise(pipeline, shape) for pipeline in lower(program, service)]
        with phase("emit"):
            variants.append(plan_variant([emit(pipeline, hook_of(pipeline.chain, "xdp")) for pipeline in pipelines], shape, name))
    with phase("emit"):
        manifest, code = plan_manifest(program, service, "xdp", variants)
    with phase("compile"):
        return build_bundle(manifest, code)


@contextmanager
def empty_cache() -> Iterator[None]:
    """What was compiled before is not known while the block runs, and what is compiled in it is forgotten behind it."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory(prefix="pcnc-bench-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
