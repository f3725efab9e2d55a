"""Trying compiled programs without attaching them: packets go through them by BPF_PROG_TEST_RUN, and every count can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, Self

from pcnc.manifest import ChainPlan, Hook, Manifest, Variant
from pcnc.program_words import ChainName
from pcnc.rules import Pattern, Rule, identities
from pcnc.run_tests import NoSuchCounter
from pcnc.shape import Shape, shape_of
from pcnc_runtime.encode import encode_rules, encode_settings
from pcnc_runtime.generation import SETTINGS, load_block, make_rules_map
from pcnc_runtime.kernel_maps import KernelMap, MapType, create_map
from pcnc_runtime.programs import Program, run_program

Verdict = Literal["drop", "pass", "next"]

_Identity = tuple[tuple[Pattern, ...], int]

CompileShape = Callable[[Shape], tuple[Variant, Mapping[str, bytes]]]
"""Compiles the service for a shape: the variant, and the objects by the paths that its plan names."""

_CODES: dict[Hook, dict[int, Verdict]] = {"xdp": {1: "drop", 2: "next"}, "tc": {2: "drop", 0: "pass", 0xFFFFFFFF: "next"}}


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """What compiled programs did to a frame; `reason` is the counter that moved."""

    verdict: Verdict
    frame: bytes
    reason: str


class Trial:
    """One service in the kernel, attached to nothing. Each change of the rules compiles and loads what they need anew."""

    def __init__(self, manifest: Manifest, compile_shape: CompileShape) -> None:
        self._manifest = manifest
        self._compile = compile_shape
        self._rules: dict[str, tuple[Rule, ...]] = {table.schema.name: () for table in manifest.tables}
        self._settings: dict[str, int] = {}
        self._slots: dict[str, dict[_Identity, int]] = {table.schema.name: {} for table in manifest.tables}
        self._counters: dict[str, KernelMap] = {}
        self._loaded = ExitStack()
        self._kept = ExitStack()
        self._chains: dict[str, _LoadedChain] | None = None

    def __enter__(self) -> Self:
        for table in self._manifest.tables:
            if table.count_packets or table.count_bytes:
                name = table.schema.name
                room = table.schema.size + 1
                self._counters[name] = self._kept.enter_context(create_map(MapType.PERCPU_ARRAY, 4, 16, room, name="counters"))
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.close()
        self._kept.close()

    def set_rules(self, table: str, rules: Sequence[Rule]) -> None:
        """Replaces all rules of a table. A rule with the same match as one before keeps its counts."""
        self._rules[table] = tuple(rules)
        self._slots[table] = self._give_slots(table, identities(rules))
        self._chains = None

    def _give_slots(self, table: str, rules: Sequence[_Identity]) -> dict[_Identity, int]:
        """Where each rule counts, in order: one that was there where it did, another in a place of its own, from 0."""
        before = self._slots[table]
        kept = {before[rule] for rule in rules if rule in before}
        free = (slot for slot in range(1, len(rules) + 1) if slot not in kept)
        given = {rule: before[rule] if rule in before else next(free) for rule in rules}
        if counters := self._counters.get(table):
            for rule, slot in given.items():
                if rule not in before:
                    counters.update(slot, bytes(counters.facts.stride))
        return given

    def set_config(self, name: str, value: int) -> None:
        """Changes a setting."""
        self._settings[name] = value
        self._chains = None

    def send(self, chain: ChainName, frame: bytes) -> tuple[Verdict, bytes]:
        """Runs a frame through a chain; the verdict, and the frame as it left."""
        outcome = self.run(chain, frame)
        return outcome.verdict, outcome.frame

    def run(self, chain: ChainName, frame: bytes) -> TrialOutcome:
        """The same with the reason. OSError where the kernel refuses the frame (it wants 14 bytes at least)."""
        if self._chains is None:
            self._chains = self._load()
        return self._chains[chain].run(frame)

    def entry(self, chain: ChainName) -> int:
        """The descriptor of the program that a packet of a chain meets first, lent until the rules change."""
        if self._chains is None:
            self._chains = self._load()
        return self._chains[chain].entry

    def counter(self, table: str, rule: int, unit: Literal["packets", "bytes"]) -> int:
        """What a table's rule (from 1), or its default (0), has counted. NoSuchCounter where there is none."""
        if rule > len(self._rules[table]) or table not in self._counters:
            raise NoSuchCounter(f"{table} has no counter for rule {rule}")
        slot = list(self._slots[table].values())[rule - 1] if rule else 0
        counted = self._counters[table].sum_per_cpu(slot) or (0, 0)
        return counted[0 if unit == "packets" else 1]

    def _load(self) -> dict[str, _LoadedChain]:
        self._loaded.close()
        shape = shape_of(self._manifest.schemas, self._rules)
        variant, objects = self._compile(shape)
        with ExitStack() as making:
            maps: dict[str, KernelMap] = {f"{table}_counters": counters for table, counters in self._counters.items()}
            for plan in variant.tables:
                schema = self._manifest.table(plan.table).schema
                rules = list(zip(self._rules[plan.table], self._slots[plan.table].values(), strict=True))
                made = make_rules_map(plan, encode_rules(plan, schema, rules))
                maps[f"{plan.table}_rules"] = making.enter_context(made)
            settings = encode_settings(self._manifest.config_size, self._manifest.configs, self._settings)
            loaded: dict[str, _LoadedChain] = {}
            for chain in variant.chains:
                loaded[chain.chain] = _LoadedChain(making, chain, maps, objects, settings, self._manifest.source)
            self._loaded = making.pop_all()
        return loaded


class _LoadedChain:
    def __init__(
        self,
        stack: ExitStack,
        plan: ChainPlan,
        tables: Mapping[str, KernelMap],
        objects: Mapping[str, bytes],
        settings: bytes,
        source: str,
    ) -> None:
        self._plan = plan
        self._verdicts = stack.enter_context(create_map(MapType.PERCPU_ARRAY, 4, 8, len(plan.reasons), name="verdicts"))
        blocks = stack.enter_context(create_map(MapType.PROG_ARRAY, 4, 4, len(plan.blocks), name="blocks"))
        maps = {**tables, "verdicts": self._verdicts, "blocks": blocks}
        if plan.frame_size:
            maps["frames"] = stack.enter_context(create_map(MapType.PERCPU_ARRAY, 4, plan.frame_size, 1, name="frames"))
        self._programs: list[Program] = []
        for block in plan.blocks:
            program = stack.enter_context(load_block(objects[block.object], block, maps, {SETTINGS: settings}, source))
            blocks.set_slot(block.slot, program.fd)
            self._programs.append(program)

    @property
    def entry(self) -> int:
        """The descriptor of the first program."""
        return self._programs[0].fd

    def run(self, frame: bytes) -> TrialOutcome:
        before = self._count()
        result = run_program(self._programs[0].fd, frame)
        moved = [reason for reason, then, now in zip(self._plan.reasons, before, self._count(), strict=True) if now != then]
        verdict = _CODES[self._plan.hook].get(result.verdict)
        reason = moved[0] if len(moved) == 1 else f"{len(moved)} counters moved"
        if verdict == "next" and reason.startswith("pass"):
            verdict = "pass"
        if verdict is None:
            raise ValueError(f"the program returned {result.verdict}")
        return TrialOutcome(verdict, result.packet if verdict != "drop" else frame, reason)

    def _count(self) -> list[int]:
        return [(self._verdicts.sum_per_cpu(index) or (0,))[0] for index in range(len(self._plan.reasons))]
