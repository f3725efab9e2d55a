"""A swap as it must not be: running blocks replaced one by one. It shows that the checks of `soak.mixed` can fail."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Self

from pcnc_runtime.bundle import Bundle
from pcnc_runtime.generation import load_block
from pcnc_runtime.kernel_maps import MapType, create_map
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import Program
from pcnc_runtime.state import place_of


class NaiveSwapper:
    """Two versions of a loaded service's blocks, as alike as `bench.stamping`'s, held ready to be written over those that run."""

    def __init__(self, name: str, versions: tuple[Bundle, Bundle]) -> None:
        """RuntimeProblem where the kernel refuses."""
        self._stack = ExitStack()
        try:
            self._open(name, versions)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, name: str, versions: tuple[Bundle, Bundle]) -> None:
        place = place_of(name)
        state = place.read()
        assert state is not None, "it is loaded"
        pins = place.generation(state.kept[0])
        (chain,) = versions[0].manifest.variants[0].chains
        maps = {
            "blocks": self._stack.enter_context(open_map(pins / f"blocks_{chain.chain}")),
            "verdicts": self._stack.enter_context(open_map(pins / f"verdicts_{chain.chain}")),
            "frames": self._stack.enter_context(create_map(MapType.PERCPU_ARRAY, 4, chain.frame_size, 1, name="frames")),
        }
        for table in versions[0].manifest.schemas:
            for kind in ("rules", "counters"):
                maps[f"{table.name}_{kind}"] = self._stack.enter_context(open_map(pins / f"{kind}_{table.name}"))
        self._blocks = maps["blocks"]
        self._entry = self._stack.enter_context(open_map(place.pins / f"entry_{chain.chain}"))
        self._versions: list[list[Program]] = []
        for bundle in versions:
            (chain,) = bundle.manifest.variants[0].chains
            plans = sorted(chain.blocks, key=lambda block: block.slot)
            loaded = [load_block(bundle.files[plan.object], plan, maps, {}) for plan in plans]
            self._versions.append([self._stack.enter_context(program) for program in loaded])

    def swap(self, version: int) -> float:
        """Writes the blocks of a version over those that run, one slot after another; how long that took, in seconds."""
        began = time.perf_counter()
        for slot, program in enumerate(self._versions[version]):
            self._blocks.set_slot(slot, program.fd)
        self._entry.set_slot(0, self._versions[version][0].fd)
        return time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
