"""A generation in the kernel: built whole and pinned, asked whether it is whole, put into force, and let go of."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from pcnc.manifest import BlockPlan, ChainPlan, Manifest, TablePlan, Variant
from pcnc_runtime.bundle_store import StoredVariant
from pcnc_runtime.encode import Entries, encode_rules, encode_settings
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.kernel_maps import KernelMap, MapFlag, MapType, create_map
from pcnc_runtime.live_rules import LiveRule
from pcnc_runtime.objects import ObjectFile
from pcnc_runtime.phases import phase
from pcnc_runtime.pins import list_pins, make_directory, open_map, pin, remove_tree
from pcnc_runtime.programs import Program, open_program_by_id
from pcnc_runtime.records import Generation, TableRecord
from pcnc_runtime.signals import without_signals
from pcnc_runtime.state import Place

COUNTER_SIZE = 16
"""Bytes of a table's counter: packets and bytes, each u64."""

CHAIN_PINS = ("entry", "fallen", "program")
"""Pins of a chain beside the generations: the array with the entry, the count of packets finding it empty, the program."""

BYPASS = "bypass"
"""What a generation that lacks a chain has pinned for it."""

SETTINGS = ".rodata.config"
"""The section of an object that holds the settings."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The generation that a new one takes over from: what is the same in both is the same map."""

    record: Generation
    variant: Variant


def build_generation(place: Place, record: Generation, manifest: Manifest, variant: StoredVariant, parent: Parent | None) -> int:
    """Makes the maps, loads the blocks, fills every slot, and pins it all; returns how many blocks there are.

    Nothing can reach the generation yet, and nothing remains of it where this fails. It is not tried on a packet, which would be
    counted in maps that the running generation shares: the verifier's word and filled slots are enough.

    RuntimeProblem: `verifier-refused`, `broken-bundle`, and what the kernel says.
    """
    folder = place.generation(record.number)
    make_directory(folder)
    try:
        with phase("load"), ExitStack() as stack, _kernel_says(f"build generation {record.number} of `{place.name}`"):
            builder = _Builder(place, record, manifest, variant, parent, stack)
            return sum(builder.build_chain(chain) for chain in variant.variant.chains)
    except BaseException:
        remove_tree(folder)
        raise


class _Builder:
    """What is made for one generation, open until the `stack` ends."""

    def __init__(
        self, place: Place, record: Generation, manifest: Manifest, variant: StoredVariant, parent: Parent | None, stack: ExitStack
    ) -> None:
        self._place, self._record, self._manifest, self._variant = place, record, manifest, variant
        self._parent, self._stack = parent, stack
        self._maps: dict[str, KernelMap] = {}
        for name, table in record.tables.items():
            if table.counters:
                self._maps[f"{name}_counters"] = self._counters(name, table)
        for plan in variant.variant.tables:
            self._maps[f"{plan.table}_rules"] = self._rules(plan)
        settings = encode_settings(manifest.config_size, manifest.configs, record.settings)
        self._settings = {SETTINGS: settings} if settings else {}

    def _pin(self, made: KernelMap, name: str) -> KernelMap:
        pin(made.fd, self._place.generation(self._record.number) / name)
        return made

    def _inherit(self, name: str) -> KernelMap:
        assert self._parent is not None
        return self._stack.enter_context(open_map(self._place.generation(self._parent.record.number) / name))

    def _create(self, kind: MapType, key: int, value: int, count: int, name: str, flags: MapFlag = MapFlag.NONE) -> KernelMap:
        return self._stack.enter_context(create_map(kind, key, value, count, name=name, flags=flags))

    # ---- counts

    def _counters(self, name: str, table: TableRecord) -> KernelMap:
        pinned = f"counters_{name}"
        old = self._parent.record.tables.get(name) if self._parent else None
        if old is None or old.counters != table.counters:
            made = self._create(MapType.PERCPU_ARRAY, 4, COUNTER_SIZE, table.capacity, f"{name}_counters")
            return self._pin(made, pinned)
        shared = self._inherit(pinned)
        known = {rule.slot for rule in old.rules}
        fresh = [rule.slot for rule in table.rules if rule.slot not in known]
        keys = b"".join(slot.to_bytes(4, sys.byteorder) for slot in fresh)
        shared.update_batch(keys, bytes(len(fresh) * shared.facts.stride), len(fresh))
        return self._pin(shared, pinned)

    def _verdicts(self, chain: ChainPlan) -> KernelMap:
        pinned = f"verdicts_{chain.chain}"
        number = self._record.chains[chain.chain].verdicts
        old = self._parent.record.chains.get(chain.chain) if self._parent else None
        if old is not None and old.verdicts == number:
            return self._pin(self._inherit(pinned), pinned)
        return self._pin(self._create(MapType.PERCPU_ARRAY, 4, 8, len(chain.reasons), "verdicts"), pinned)

    # ---- rules

    def _rules(self, plan: TablePlan) -> KernelMap:
        pinned = f"rules_{plan.table}"
        table = self._record.tables[plan.table]
        if self._is_as_before(plan, table):
            try:
                return self._pin(self._inherit(pinned), pinned)
            except FileNotFoundError:
                pass  # somebody removed the pin: the map is made anew
        schema = self._manifest.table(plan.table).schema
        try:
            entries = encode_rules(plan, schema, ((rule.rule, rule.slot) for rule in table.rules))
        except ValueError as error:
            raise RuntimeProblem("broken-bundle", f"table `{plan.table}`: {error}", "build it again") from None
        return self._pin(self._stack.enter_context(make_rules_map(plan, entries)), pinned)

    def _is_as_before(self, plan: TablePlan, table: TableRecord) -> bool:
        if self._parent is None or plan not in self._parent.variant.tables:
            return False
        old = self._parent.record.tables.get(plan.table)
        return old is not None and (old.rules is table.rules or _same_entries(old.rules, table.rules))

    # ---- blocks

    def build_chain(self, chain: ChainPlan) -> int:
        """Loads the blocks of a chain into an array of their own and pins that; returns how many."""
        blocks = self._create(MapType.PROG_ARRAY, 4, 4, len(chain.blocks), "blocks")
        maps = {**self._maps, "blocks": blocks, "verdicts": self._verdicts(chain)}
        if chain.frame_size:
            maps["frames"] = self._create(MapType.PERCPU_ARRAY, 4, chain.frame_size, 1, "frames")
        for block in chain.blocks:
            with self._load(block, maps) as program:
                blocks.set_slot(block.slot, program.fd)
        if None in blocks.slots():
            raise RuntimeProblem("broken-bundle", f"chain `{chain.chain}` has a slot without a block", "build it again")
        self._pin(blocks, f"blocks_{chain.chain}")
        return len(chain.blocks)

    def _load(self, block: BlockPlan, maps: Mapping[str, KernelMap]) -> Program:
        return load_block(self._variant.read(block.object), block, maps, self._settings, self._manifest.source)


def _same_entries(old: Sequence[LiveRule], new: Sequence[LiveRule]) -> bool:
    """Whether rules amount to the same map; whose they are does not matter to it."""
    return len(old) == len(new) and all(mine.slot == its.slot and mine.rule == its.rule for mine, its in zip(old, new, strict=True))


def make_rules_map(plan: TablePlan, entries: Entries) -> KernelMap:
    """A map of the kind that a plan asks for, filled; no program can write it."""
    kind = {"hash": MapType.HASH, "lpm_trie": MapType.LPM_TRIE, "list": MapType.ARRAY}[plan.classifier]
    flags = MapFlag.RDONLY_PROG | (MapFlag.NO_PREALLOC if kind is MapType.LPM_TRIE else MapFlag.NONE)
    size = max(1, entries.count)
    made = create_map(kind, plan.key_size, plan.value_size, size, name=f"{plan.table}_rules", flags=flags)
    try:
        made.update_batch(entries.keys, entries.values, entries.count)
        if kind is not MapType.ARRAY or entries.count == 1:
            # The verifier refuses what reads at a constant place of a frozen array of several entries.
            made.freeze()
    except BaseException:
        made.close()
        raise
    return made


def load_block(
    data: bytes, block: BlockPlan, maps: Mapping[str, KernelMap], sections: Mapping[str, bytes], source: str = ""
) -> Program:
    """Loads one block of the source of that name with those of the maps and sections that it declares.

    RuntimeProblem `verifier-refused`, `broken-bundle`.
    """
    with without_signals(), ObjectFile(data, block.name) as opened:
        for declared in opened.declared_maps:
            if declared.name in sections:
                try:
                    opened.set_value(declared.name, sections[declared.name])
                except ValueError as error:
                    raise RuntimeProblem("broken-bundle", str(error), "build it again") from None
            elif declared.name in maps:
                opened.use_map(declared.name, maps[declared.name].fd)
            elif not declared.internal:
                text = f"block `{block.name}` wants a map `{declared.name}` that its service does not have"
                raise RuntimeProblem("broken-bundle", text, "build it again")
        try:
            opened.load()
        except RuntimeProblem as problem:
            if problem.refusal is not None and not problem.refusal.line and block.source_line:
                problem.refusal = replace(problem.refusal, file=source, line=block.source_line)
            raise
        return opened.take_program(block.function)


# ---- asking, and putting into force


def entry_program(place: Place, chain: str) -> int | None:
    """The id of the program in a chain's entry, None where it is empty. FileNotFoundError where the pin is gone."""
    with open_map(place.pins / f"entry_{chain}") as entry:
        return entry.slot(0)


def chains_of(place: Place) -> tuple[str, ...]:
    """The chains that have an entry, in the order in which they are switched: egress first.

    What comes in by a new ingress then meets a new egress, never an old one.
    """
    return tuple(name.removeprefix("entry_") for name in list_pins(place.pins) if name.startswith("entry_"))


def _open_blocks(place: Place, number: int, chain: str) -> KernelMap:
    """The blocks of a generation's chain, or the bypass that it has in their place."""
    try:
        return open_map(place.generation(number) / f"blocks_{chain}")
    except FileNotFoundError:
        return open_map(place.generation(number) / f"{BYPASS}_{chain}")


def is_whole(place: Place, number: int, chains: Iterable[str]) -> bool:
    """Whether a generation can take packets: every slot of these chains is filled. An array that was unpinned is not."""
    try:
        for chain in chains:
            with _open_blocks(place, number, chain) as blocks:
                if None in blocks.slots():
                    return False
    except FileNotFoundError:
        return False
    return True


def runs_in(place: Place, chain: str, number: int) -> bool:
    """Whether packets of a chain go to this generation."""
    try:
        with _open_blocks(place, number, chain) as blocks:
            first = blocks.slot(0)
        return first is not None and first == entry_program(place, chain)
    except FileNotFoundError:
        return False


def put_into_force(place: Place, number: int) -> float:
    """Writes the entry of every chain that does not hold this generation yet; returns the seconds that took (0: nothing to do).

    A chain that ends is written last: between one write and the other, and who is killed there makes that long, each chain that
    either version has is filtered by one of them, where the other order would leave a moment without any.
    RuntimeProblem `pins-lost` where a pin is gone. Signals wait until all are written.
    """
    with ExitStack() as stack, _kernel_says(f"put generation {number} of `{place.name}` into force"):
        writes = []
        bypassed = {name.removeprefix(f"{BYPASS}_") for name in list_pins(place.generation(number)) if name.startswith(BYPASS)}
        for chain in sorted(chains_of(place), key=bypassed.__contains__):
            entry = stack.enter_context(open_map(place.pins / f"entry_{chain}"))
            blocks = stack.enter_context(_open_blocks(place, number, chain))
            first = blocks.slot(0)
            if first is None:
                raise RuntimeProblem("pins-lost", f"generation {number} of `{place.name}` has lost its blocks")
            if entry.slot(0) != first:
                writes.append((entry, stack.enter_context(open_program_by_id(first))))
        if not writes:
            return 0.0
        with without_signals(), phase("flip"):
            began = time.perf_counter()
            for entry, program in writes:
                entry.set_slot(0, program.fd)
            return time.perf_counter() - began


@contextmanager
def _kernel_says(doing: str) -> Iterator[None]:
    """Tells what the kernel refused, in words."""
    try:
        yield
    except FileNotFoundError as error:
        text = f"cannot {doing}: a pin is gone{f' ({error.filename})' if error.filename else ''}"
        raise RuntimeProblem("pins-lost", text, "unload the service and load it anew", errno=errno.ENOENT) from None
    except OSError as error:
        raise problem_from_errno(error, doing) from None
