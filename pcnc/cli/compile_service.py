"""From a source file to what is loaded: which service, which variants, and the same again for another shape of the rules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from pcnc.cli.read_source import read_source
from pcnc.cli.report import tell
from pcnc.shape import Shape, widest_shape
from pcnc.source import Source
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc.manifest import Hook, Toolchain
    from pcnc.program import Program, Service
    from pcnc_runtime.build import Compiler
    from pcnc_runtime.bundle import Bundle
    from pcnc_runtime.changes import BuiltVariant, SourceRecord

AS_WRITTEN, GENERAL = "as_written", "general"
"""The variants of a bundle: for the shape of the file's own rules, and for whatever rules come."""

IN_WORDS: Mapping[Toolchain, str] = {"clang": "clang", "bcc": "BCC"}
"""Toolchains as people call them."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A service of a file without errors."""

    program: Program
    service: Service


def read_service(path: str, wanted: str | None, otherwise: str = "") -> Chosen:
    """Reads a source and chooses a service of it. See `service_of`; also the problems of `read_source`."""
    return service_of(read_source(path), wanted, otherwise)


def service_of(source: Source, wanted: str | None, otherwise: str = "") -> Chosen:
    """Checks a source and chooses a service of it; warnings are told. See `choose_service`.

    CompileError; RuntimeProblem `no-such-service`, `which-service`.
    """
    from pcnc.compile import check

    checked = check(source)
    tell(checked.warnings)
    return Chosen(checked.program, choose_service(checked.program, wanted, otherwise))


def choose_service(program: Program, wanted: str | None, otherwise: str = "") -> Service:
    """The service `wanted`; where none is, the only one there is, or that of the name `otherwise`.

    RuntimeProblem `no-such-service`, `which-service`.
    """
    names = [service.name for service in program.services]
    if wanted is None and len(names) == 1:
        return program.services[0]
    if wanted is None and otherwise in names:
        wanted = otherwise
    listed = ", ".join(f"`{name}`" for name in names)
    if wanted is None:
        text = f"{program.source.path} holds {len(names)} services: {listed}"
        raise RuntimeProblem("which-service", text, f"choose one: --service {names[0]}")
    for service in program.services:
        if service.name == wanted:
            return service
    raise RuntimeProblem("no-such-service", f"{program.source.path} has no service `{wanted}`", f"it has {listed}")


def open_compiler(wanted: Toolchain | None) -> Compiler:
    """The compiler asked for, else clang, else BCC, which is then told. RuntimeProblem as with `choose_compiler`."""
    from pcnc_runtime.toolchains import choose_compiler, toolchain_of

    chosen = choose_compiler(wanted)
    if chosen.why:
        print(f"note: {IN_WORDS[toolchain_of(chosen.compiler)]} compiles: {chosen.why}", file=sys.stderr)
    return chosen.compiler


def build_service(chosen: Chosen, hook: Hook, compiler: Compiler | None = None) -> Bundle:
    """Compiles a service for the shape of the file's rules, and for every rule set; once where these are the same.

    CompileError; RuntimeProblem as with `build_bundle`.
    """
    from pcnc.compile import shape_of_file
    from pcnc_ebpf.plan import compile_variant, plan_manifest
    from pcnc_runtime.bundle import build_bundle
    from pcnc_runtime.refusals import compiled_from

    program, service = chosen.program, chosen.service
    written, widest = shape_of_file(service), widest_shape(service.schemas)
    shapes = {AS_WRITTEN: written, GENERAL: widest} if written != widest else {GENERAL: widest}
    variants = [compile_variant(program, service, shape, hook, name) for name, shape in shapes.items()]
    with compiled_from(lambda: record_of(chosen, hook)):
        return build_bundle(*plan_manifest(program, service, hook, variants), compiler)


def record_of(chosen: Chosen, hook: Hook, toolchain: Toolchain = "clang") -> SourceRecord:
    """What the runtime keeps of a source, so that `recompile` can compile it again."""
    from pcnc_runtime.changes import SourceRecord

    source = chosen.program.source
    return SourceRecord(source.path, source.text, chosen.service.name, hook, toolchain)


def recompile(record: SourceRecord, shape: Shape) -> BuiltVariant:
    """Compiles a loaded service for another shape of its rules, by what compiled it before; called by the runtime when it must."""
    from pcnc.compile import check
    from pcnc_runtime.toolchains import choose_compiler

    compiler = choose_compiler(record.toolchain).compiler

    program = check(Source(record.path, record.text)).program
    return build_shape(Chosen(program, choose_service(program, record.service)), record.hook, shape, compiler)


def build_shape(chosen: Chosen, hook: Hook, shape: Shape, compiler: Compiler | None = None) -> BuiltVariant:
    """Compiles a service for one shape of its rules. CompileError; RuntimeProblem as with `compile_objects`."""
    from pcnc.line_directives import without_directives
    from pcnc_ebpf.plan import INCLUDE, block_header, compile_variant
    from pcnc_runtime.bundle import compile_objects
    from pcnc_runtime.changes import BuiltVariant
    from pcnc_runtime.refusals import compiled_from

    name = f"shape_{sha256(shape.key.encode()).hexdigest()[:12]}"
    compiled = compile_variant(chosen.program, chosen.service, shape, hook, name)
    with compiled_from(lambda: record_of(chosen, hook)):
        objects = compile_objects(compiled.code, {INCLUDE: block_header()}, compiler)
    files = {path: without_directives(text).encode() for path, text in compiled.code.items()}
    plans = [block for chain in compiled.variant.chains for block in chain.blocks]
    return BuiltVariant(compiled.variant, {**files, **{plan.object: objects[plan.code] for plan in plans}})
