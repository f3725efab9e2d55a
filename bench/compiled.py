"""The compiled firewall in the kernel, as the runtime loads it and attached to nothing: what the twin is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self

from pcnc.compile import check
from pcnc.program import Program
from pcnc.rules import Rule
from pcnc.shape import Shape, shape_of, widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import compile_variant, plan_manifest
from pcnc_runtime.bundle import Bundle, build_bundle
from pcnc_runtime.encode import encode_rules
from pcnc_runtime.generation import load_block
from pcnc_runtime.kernel_maps import KernelMap, MapType, create_map
from pcnc_runtime.objects import load_program
from pcnc_runtime.trial import MAP_OF_CLASSIFIER

FIREWALL = Path(__file__).parents[1] / "examples" / "firewall.pcn"


class Compiled:
    """examples/firewall.pcn with these rules: the entry program and a generation of blocks, until the end of the `with`.

    Compiled for just this shape of the rules or, `pruned` being false, for any: every table is then looked up.
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]], *, pruned: bool = True) -> None:
        """RuntimeProblem where clang or the kernel refuse."""
        (service,) = _program().services
        self._shape = shape_of(service.schemas, rules) if pruned else widest_shape(service.schemas)
        self._bundle = _built(self._shape)
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
    def blocks(self) -> int:
        """How many programs a packet may go through behind the entry."""
        (chain,) = self._bundle.manifest.variants[0].chains
        return len(chain.blocks)

    def _load(self, rules: Mapping[str, Sequence[Rule]]) -> None:
        manifest = self._bundle.manifest
        (variant,), (entry,) = manifest.variants, manifest.entries
        (chain,) = variant.chains
        maps = {"verdicts": self._map(MapType.PERCPU_ARRAY, 8, len(chain.reasons))}
        maps["blocks"] = self._map(MapType.PROG_ARRAY, 4, len(chain.blocks))
        if chain.frame_size:
            maps["frames"] = self._map(MapType.PERCPU_ARRAY, chain.frame_size, 1)
        for plan in variant.tables:
            numbered = [(rule, number) for number, rule in enumerate(rules[plan.table], 1)]
            entries = encode_rules(plan, manifest.table(plan.table).schema, numbered)
            kind, flags = MAP_OF_CLASSIFIER[plan.classifier]
            made = create_map(kind, plan.key_size, plan.value_size, max(1, entries.count), flags=flags)
            maps[f"{plan.table}_rules"] = self._stack.enter_context(made)
            made.update_batch(entries.keys, entries.values, entries.count)
            made.freeze()
        slot = self._map(MapType.PROG_ARRAY, 4, 1)
        for block in chain.blocks:
            program = self._stack.enter_context(load_block(self._bundle.files[block.object], block, maps, {}))
            maps["blocks"].set_slot(block.slot, program.fd)
            if block.slot == 0:
                slot.set_slot(0, program.fd)
        given = {"blocks": slot.fd, "verdicts": self._map(MapType.PERCPU_ARRAY, 8, 1).fd}
        self._entry = self._stack.enter_context(load_program(self._bundle.files[entry.object], maps=given))

    def _map(self, kind: MapType, value: int, entries: int) -> KernelMap:
        return self._stack.enter_context(create_map(kind, 4, value, entries))

    @property
    def entry(self) -> int:
        """The descriptor, lent, of the program that a device would carry; it jumps to the first block."""
        return self._entry.fd


@cache
def _program() -> Program:
    return check(Source(FIREWALL.name, FIREWALL.read_text())).program


@cache
def _built(shape: Shape) -> Bundle:
    program = _program()
    (service,) = program.services
    return build_bundle(*plan_manifest(program, service, "xdp", [compile_variant(program, service, shape, "xdp", "measured")]))
