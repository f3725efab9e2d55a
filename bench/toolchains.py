"""What it takes to compile the examples, by clang and by BCC: time, memory, and how long the programs are that come out."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

from pcnc.cli.compile_service import AS_WRITTEN, GENERAL
from pcnc.compile import check, shape_of_file
from pcnc.manifest import Toolchain
from pcnc.shape import widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import compile_variant, plan_manifest
from pcnc_runtime.bundle import compile_objects, planned_programs
from pcnc_runtime.elf import sections
from pcnc_runtime.toolchains import choose_compiler

EXAMPLES = Path(__file__).parents[1] / "examples"
ROUNDS = 5

_LIMIT = 300.0  # seconds, after which a compiler counts as hung


@dataclass(frozen=True, slots=True)
class Compilation:
    """C that is compiled at once: its files by path, and the headers among `code`."""

    what: str
    sources: Mapping[str, str]
    code: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """One compilation: seconds, those of CPUs, the most KiB of memory that one process had, instructions in all objects."""

    seconds: float
    cpu: float
    memory: int
    instructions: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """Many compilations of one thing by one toolchain: medians; `least` is the shortest time, in seconds."""

    what: str
    objects: int
    toolchain: Toolchain
    version: str
    seconds: float
    least: float
    cpu: float
    memory: int
    instructions: int
    runs: int


def measure_toolchains(rounds: int = ROUNDS, progress: Callable[[str], object] = lambda doing: None) -> list[Compiled]:
    """Compiles one block and every example by both toolchains in turn, `rounds` times each after one to warm up; nothing is cached.

    RuntimeProblem where a toolchain is not there.
    """
    versions = {toolchain: choose_compiler(toolchain).compiler.version for toolchain in get_args(Toolchain)}
    compilations = list(_compilations())
    runs: dict[tuple[str, Toolchain], list[Run]] = {(each.what, by): [] for each in compilations for by in versions}
    for number in range(rounds + 1):
        for each in compilations:
            for toolchain in versions:
                progress(f"{each.what} by {toolchain}, round {number} of {rounds}")
                run = compile_in_process(each, toolchain)
                if number:
                    runs[each.what, toolchain].append(run)
    return [
        Compiled(
            what=each.what,
            objects=len(each.sources),
            toolchain=toolchain,
            version=version,
            seconds=median(run.seconds for run in runs[each.what, toolchain]),
            least=min(run.seconds for run in runs[each.what, toolchain]),
            cpu=median(run.cpu for run in runs[each.what, toolchain]),
            memory=round(median(run.memory for run in runs[each.what, toolchain])),
            instructions=runs[each.what, toolchain][0].instructions,
            runs=rounds,
        )
        for each in compilations
        for toolchain, version in versions.items()
    ]


def _compilations() -> Iterator[Compilation]:
    """One block, `sources` of the firewall, then the bundle of each example."""
    examples = [_of_example(path) for path in sorted(EXAMPLES.glob("*.pcn"))]
    firewall = next(each for each in examples if each.what == "firewall.pcn")
    (block,) = [path for path in firewall.sources if path.startswith(GENERAL) and path.endswith("_sources.bpf.c")]
    yield Compilation("one block", {block: firewall.sources[block]}, firewall.code)
    yield from examples


def _of_example(path: Path) -> Compilation:
    program = check(Source(path.name, path.read_text())).program
    (service,) = program.services
    shapes = {AS_WRITTEN: shape_of_file(service), GENERAL: widest_shape(service.schemas)}
    variants = [compile_variant(program, service, shape, "xdp", name) for name, shape in shapes.items()]
    manifest, code = plan_manifest(program, service, "xdp", variants)
    return Compilation(path.name, {plan.code: code[plan.code] for plan in planned_programs(manifest)}, code)


def compile_in_process(compilation: Compilation, toolchain: Toolchain) -> Run:
    """Compiles in a fresh process without a cache, so that what it used is what its compilers used. RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.toolchains"],
        input=json.dumps({"toolchain": toolchain, "sources": dict(compilation.sources), "code": dict(compilation.code)}),
        env={**os.environ, "XDG_CACHE_HOME": "/proc/self/no-cache"},
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{toolchain} did not compile {compilation.what}: {done.stderr.strip()}")
    return Run(**json.loads(done.stdout))


def _compile(asked: Mapping[str, Any]) -> Run:
    compiler = choose_compiler(asked["toolchain"]).compiler
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    objects = compile_objects(asked["sources"], asked["code"], compiler)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, used.ru_maxrss, sum(_instructions(data) for data in objects.values()))


def _instructions(data: bytes) -> int:
    return sum(len(each.content) // 8 for each in sections(data) if each.executable)


if __name__ == "__main__":
    found = _compile(json.load(sys.stdin))
    json.dump(asdict(found), sys.stdout)
