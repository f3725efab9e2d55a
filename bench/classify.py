"""What the firewall costs a packet: compiled, and written by hand, with the same rules and the same packets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import Random
from statistics import median

from bench.compiled import Compiled
from bench.packets import MANY, Covered, addresses_of, drop_rules, random_prefixes, rotation
from bench.rig import measure
from bench.twin import XDP_DROP, XDP_PASS, Twin
from pcnc_runtime.programs import run_program

SIZES = ((0, 0), (1, 0), (100, 0), (10_000, 0), (1, 1), (100, 100), (10_000, 10_000))
"""How many rules stand in `sources` and in `destinations`."""

_SINGLE = 5
"""One packet alone may meet a branch predictor that guesses badly: so many are measured, each alone, and the median counts."""

_TRIED = 200
"""With so many packets the programs are tried before they are timed: all must say what the rules say."""


@dataclass(frozen=True, slots=True)
class Classified:
    """One configuration; `packets` is how many different ones took turns. Costs in ns a packet above the empty program.

    `compiled` is the whole way, the entry's jump included; `unpruned` the same compiled for any rules: both tables are looked up.
    `twin` is the hand-written program for just these tables, and `whole_twin` the one that looks both up.
    """

    sources: int
    destinations: int
    packets: int
    blocks: int
    compiled: float
    unpruned: float
    twin: float
    whole_twin: float


def classify(sizes: Sequence[tuple[int, int]] = SIZES, many: int = MANY, rounds: int = 25) -> Iterator[Classified]:
    """Measures each configuration with one packet, which no rule drops, and with `many`, half of them met by a rule of each table.

    RuntimeProblem or OSError where the kernel refuses; RuntimeError where a program gives a wrong verdict.
    """
    for sources, destinations in sizes:
        random = Random(f"{sources} {destinations}")
        prefixes = {"sources": random_prefixes(sources, random), "destinations": random_prefixes(destinations, random)}
        frames = rotation(many, prefixes["sources"], prefixes["destinations"], random)
        verdicts = _verdicts(frames, prefixes)
        passing = [frame for frame, verdict in zip(frames, verdicts, strict=True) if verdict == XDP_PASS][:_SINGLE]
        rules = {table: drop_rules(held) for table, held in prefixes.items()}
        with ExitStack() as stack:
            twin = stack.enter_context(Twin())
            for table, held in prefixes.items():
                twin.add_rules(table, held)
            compiled = stack.enter_context(Compiled(rules))
            unpruned = stack.enter_context(Compiled(rules, pruned=False))
            candidates = {
                "compiled": compiled.entry,
                "unpruned": unpruned.entry,
                "twin": twin.program("by_both" if destinations else "by_source"),
                "whole_twin": twin.program("by_both"),
            }
            _try(candidates, frames[:_TRIED], verdicts)
            alone = [measure(candidates, [frame], rounds // 2) for frame in passing]
            yield Classified(
                sources, destinations, 1, compiled.blocks, **{name: median(each[name] for each in alone) for name in candidates}
            )
            yield Classified(sources, destinations, len(frames), compiled.blocks, **measure(candidates, frames, rounds))


def _verdicts(frames: Sequence[bytes], prefixes: Mapping[str, Sequence[IPv4Network]]) -> list[int]:
    sources, destinations = Covered(prefixes["sources"]), Covered(prefixes["destinations"])
    pairs = map(addresses_of, frames)
    return [XDP_DROP if source in sources or destination in destinations else XDP_PASS for source, destination in pairs]


def _try(candidates: Mapping[str, int], frames: Sequence[bytes], verdicts: Sequence[int]) -> None:
    for name, program in candidates.items():
        for frame, verdict in zip(frames, verdicts, strict=False):
            if run_program(program, frame).verdict != verdict:
                raise RuntimeError(f"{name} does not give {verdict} to {frame.hex()}")
