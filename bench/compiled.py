"""The compiled firewall in the kernel, as the runtime loads it but attached to nothing: what the twin is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self

from pcnc.cli.compile_service import Chosen, build_shape
from pcnc.compile import check
from pcnc.manifest import Variant
from pcnc.rules import Rule
from pcnc.shape import Shape, widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import plan_manifest
from pcnc_runtime.bundle import compile_objects
from pcnc_runtime.kernel_maps import KernelMap, MapType, create_map
from pcnc_runtime.objects import load_program
from pcnc_runtime.trial import Trial

FIREWALL = Path(__file__).parents[1] / "examples" / "firewall.pcn"


class Compiled:
    """examples/firewall.pcn with these rules: the entry program and a generation of blocks, until the end of the `with`.

    Compiled for just this shape of the rules or, `pruned` being false, for any: every table is then looked up.
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]], *, pruned: bool = True) -> None:
        """RuntimeProblem where clang or the kernel refuse."""
        self.blocks = 0
        """How many programs stand behind the entry."""
        self._pruned = pruned
        self._chosen = firewall(FIREWALL.read_text())
        self._stack = ExitStack()
        try:
            self._load(rules)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def entry(self) -> int:
        """The descriptor, lent, of the program that a device would carry; it jumps to the first block."""
        return self._entry.fd

    def _load(self, rules: Mapping[str, Sequence[Rule]]) -> None:
        manifest, code = plan_manifest(self._chosen.program, self._chosen.service, "xdp", [])
        trial = self._stack.enter_context(Trial(manifest, self._compile))
        for table, held in rules.items():
            trial.set_rules(table, held)
        generation, fallen = self._map(MapType.PROG_ARRAY, 4), self._map(MapType.PERCPU_ARRAY, 8)
        generation.set_slot(0, trial.entry("ingress"))
        (entry,) = manifest.entries
        objects = compile_objects({entry.code: code[entry.code]}, code)
        maps = {"blocks": generation.fd, "verdicts": fallen.fd}
        self._entry = self._stack.enter_context(load_program(objects[entry.code], maps=maps))

    def _map(self, kind: MapType, value: int) -> KernelMap:
        return self._stack.enter_context(create_map(kind, 4, value, 1))

    def _compile(self, shape: Shape) -> tuple[Variant, Mapping[str, bytes]]:
        service = self._chosen.service
        built = build_shape(self._chosen, "xdp", shape if self._pruned else widest_shape(service.schemas))
        (chain,) = built.variant.chains
        self.blocks = len(chain.blocks)
        return built.variant, built.files


@cache
def firewall(text: str) -> Chosen:
    """The firewall by its source, checked. CompileError."""
    program = check(Source(FIREWALL.name, text)).program
    (service,) = program.services
    return Chosen(program, service)
