"""One service walked through versions while packets go through its entries, each held against what the two versions mean.

    with Walk(namespace, first, frames) as walk:
        walk.swap(second)
        walk.rollback()

A thread sends the frames by BPF_PROG_TEST_RUN through the programs that sit on the device, without a pause. What becomes of a frame
that is sent before a change, or after it has returned, is what that version makes of it; in between it is what one of the two
makes of it: verdict and bytes together. Every frame is counted once, for a reason that goes with what became of it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from bench.lab import Namespace
from pcnc.cli.compile_service import AS_WRITTEN, GENERAL, Chosen, recompile, record_of
from pcnc.compile import check, shape_of_file
from pcnc.interpret import Interpreter, Outcome
from pcnc.manifest import Hook
from pcnc.program_words import ChainName
from pcnc.rules import Rule
from pcnc.shape import widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import compile_variant, plan_manifest
from pcnc_runtime.bundle import Bundle, build_bundle
from pcnc_runtime.changes import Change, SourceRecord
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import load, rollback, set_configs, statistics, swap, unload
from pcnc_runtime.pins import open_program
from pcnc_runtime.programs import Program, run_program
from pcnc_runtime.state import place_of
from tests.agreement import taken
from tests.live_service import new_name

_ROOM = 4096
_CODES: dict[Hook, dict[str, int]] = {
    "xdp": {"drop": 1, "pass": 2, "next": 2},
    "tc": {"drop": 2, "pass": 0, "next": 0xFFFFFFFF},
}

Result = tuple[int, bytes]
"""What a program returned, and the frame as it left; without bytes where it was dropped."""


@dataclass(eq=False)
class Version:
    """A service as a text, compiled for the rules in it or (`general`) for all rules."""

    text: str
    hook: Hook
    general: bool = False
    name: str = ""

    @cached_property
    def _chosen(self) -> Chosen:
        program = check(Source(f"{self.name or 'version'}.pcn", self.text)).program
        return Chosen(program, program.services[0])

    @cached_property
    def bundle(self) -> Bundle:
        """Compiled, one variant of it: what compiling takes is most of what a walk takes."""
        program, service = self._chosen.program, self._chosen.service
        name, shape = (GENERAL, widest_shape(service.schemas)) if self.general else (AS_WRITTEN, shape_of_file(service))
        return build_bundle(
            *plan_manifest(program, service, self.hook, [compile_variant(program, service, shape, self.hook, name)])
        )

    @property
    def source(self) -> SourceRecord:
        """What it is compiled from."""
        return record_of(self._chosen, self.hook)

    @property
    def chains(self) -> frozenset[ChainName]:
        """The chains that it has."""
        return frozenset(chain.name for chain in self._chosen.service.chains)

    @property
    def rules(self) -> Mapping[str, Sequence[Rule]]:
        """The rules in its text, by table."""
        return {table.schema.name: table.rules for table in self.bundle.manifest.tables}

    def meant(self, frames: Sequence[bytes], settings: Mapping[str, int]) -> dict[tuple[ChainName, int], tuple[Result, str]]:
        """What becomes of each frame in each chain, by its number, and the reason."""
        running = Interpreter(self._chosen.program, self._chosen.service, self.rules, settings)
        return {
            (chain, number): (self.result(chain, outcome := running.run(chain, frame)), outcome.reason)
            for chain in self.chains
            for number, frame in enumerate(frames)
        }

    def result(self, chain: ChainName, outcome: Outcome) -> Result:
        """How an outcome shows at the hook of a chain."""
        codes = _CODES["tc" if chain == "egress" else self.hook]
        return codes[outcome.verdict], b"" if outcome.verdict == "drop" else outcome.frame


@dataclass
class Tally:
    """How often what became of what: by chain, number of the frame, result, and the moments before and after."""

    seen: Counter[tuple[ChainName, int, Result, int, int]] = field(default_factory=Counter)


class Prober(threading.Thread):
    """Sends frames through entry programs until it is stopped. `moment` is 0 before a change, 1 during it, and 2 after it."""

    def __init__(
        self, entries: Mapping[ChainName, Program], sent: Mapping[ChainName, Sequence[tuple[int, bytes]]], hook: Hook
    ) -> None:
        super().__init__(name="prober", daemon=True)
        self.moment = 0
        self.tally = Tally()
        self.rounds = 0
        self.failure: Exception | None = None
        self._stopping = False
        self._turns = [
            (chain, entries[chain].fd, _CODES["tc" if chain == "egress" else hook]["drop"], number, frame)
            for chain in sorted(sent)
            for number, frame in sent[chain]
        ]

    def run(self) -> None:
        """The thread."""
        try:
            while not self._stopping:
                for chain, fd, drop, number, frame in self._turns:
                    before = self.moment
                    ran = run_program(fd, frame, room=_ROOM)
                    result = ran.verdict, b"" if ran.verdict == drop else ran.packet
                    self.tally.seen[chain, number, result, before, self.moment] += 1
                self.rounds += 1
        except (OSError, ValueError) as error:
            self.failure = error

    def wait(self, rounds: int) -> None:
        """Returns when all frames were sent so many times more."""
        wanted = self.rounds + rounds
        while self.rounds < wanted and self.is_alive():
            self.join(0.002)

    def stop(self) -> Tally:
        """Ends it; what it found."""
        self._stopping = True
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.tally


@dataclass(frozen=True)
class Force:
    """What is in force: a version and the settings that an operator set."""

    version: Version
    settings: Mapping[str, int]


class Walk:
    """A service that goes from version to version under traffic; see the module."""

    def __init__(self, namespace: Namespace, first: Version, device: str = "eth0") -> None:
        self.name, self._namespace, self._device = new_name(), namespace, device
        self._live, self.previous = Force(first, {}), Force(first, {})
        """What is in force, and what was before."""
        self._low: Counter[tuple[ChainName, str]] = Counter()
        self._high: Counter[tuple[ChainName, str]] = Counter()
        self._sent: Counter[ChainName] = Counter()
        self.during = 0
        """Packets that were sent while something changed."""
        self.told_apart = 0
        """Packets of these of which only one of the two versions makes what became of them."""

    def __enter__(self) -> Self:
        with self._namespace.entered():
            load(self._live.version.bundle, self.name, [self._device], source=self._live.version.source)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeProblem):
            unload(self.name)

    @property
    def packets(self) -> int:
        """Sent so far."""
        return self._sent.total()

    def swap(self, version: Version, frames: Sequence[bytes]) -> Change:
        """Swaps to a version, with these frames on their way."""
        wanted = Force(version, {name: value for name, value in self._live.settings.items() if name in _settings(version)})
        return self.change(wanted, frames, lambda: swap(self.name, version.bundle, source=version.source, recompile=recompile))

    def set(self, values: Mapping[str, int], frames: Sequence[bytes]) -> Change:
        """Changes settings."""
        wanted = Force(self._live.version, {**self._live.settings, **values})
        return self.change(wanted, frames, lambda: set_configs(self.name, values))

    def rollback(self, frames: Sequence[bytes]) -> Change:
        """Goes back to what was in force before."""
        return self.change(self.previous, frames, lambda: rollback(self.name))

    def change(self, wanted: Force, frames: Sequence[bytes], make: Callable[[], Change]) -> Change:
        """Has `make` put `wanted` into force. AssertionError where a packet is treated as neither version would, or not counted."""
        old, new = self._live, wanted
        meant = [force.version.meant(frames, force.settings) for force in (old, new)]
        chains = old.version.chains & new.version.chains
        with _Entries(self.name, chains) as entries:
            prober = Prober(
                entries.programs, {chain: _numbered(old.version.hook, chain, frames) for chain in chains}, old.version.hook
            )
            prober.start()
            prober.wait(2)
            prober.moment = 1
            change = make()
            prober.moment = 2
            prober.wait(2)
            tally = prober.stop()
        self._live, self.previous = new, old
        self._check(tally, meant, frames)
        self._check_new_chains(new, frames, meant[1], new.version.chains - old.version.chains)
        self._check_counts()
        return change

    def _check(
        self, tally: Tally, meant: Sequence[Mapping[tuple[ChainName, int], tuple[Result, str]]], frames: Sequence[bytes]
    ) -> None:
        for (chain, number, result, before, after), times in tally.seen.items():
            # 0 is before the change, 2 after it, and who was on the way at any moment in between may have met either.
            versions = meant[:1] if after == 0 else meant[1:] if before == 2 else meant
            fitting = [reason for version in versions for does, reason in [version[chain, number]] if does == result]
            assert fitting, (
                f"{chain}: {frames[number].hex()} became {result[0]} {result[1].hex()} at {before}-{after}, not "
                + " or ".join(
                    f"{does[0]} {does[1].hex()} ({reason})" for does, reason in (each[chain, number] for each in versions)
                )
            )
            self._account(chain, fitting, times)
            if before < 2 and after > 0:
                self.during += times
                self.told_apart += times * (len(fitting) < len(versions))

    def _check_new_chains(
        self,
        live: Force,
        frames: Sequence[bytes],
        meant: Mapping[tuple[ChainName, int], tuple[Result, str]],
        chains: Iterable[ChainName],
    ) -> None:
        """Chains that only the new version has are tried when they are there: who comes before that meets no program at all."""
        with _Entries(self.name, chains) as entries:
            for chain, program in entries.programs.items():
                for number, frame in _numbered(live.version.hook, chain, frames):
                    ran = run_program(program.fd, frame, room=_ROOM)
                    (verdict, left), reason = meant[chain, number]
                    assert (ran.verdict, ran.packet if left else b"") == (verdict, left), frame.hex()
                    self._account(chain, [reason], 1)

    def _account(self, chain: ChainName, reasons: Sequence[str], times: int) -> None:
        self._sent[chain] += times
        for reason in set(reasons):
            self._high[chain, reason] += times
        if len(set(reasons)) == 1:
            self._low[chain, reasons[0]] += times

    def _check_counts(self) -> None:
        for counted in statistics(self.name).chains:
            assert counted.packets == self._sent[counted.chain], f"{counted.chain}: not every packet is counted once"
            for reason, count in counted.reasons:
                low, high = self._low[counted.chain, reason], self._high[counted.chain, reason]
                assert low <= count <= high, f"{counted.chain}: {count} of `{reason}`, not {low} to {high}"


class _Entries:
    """The programs that sit on the devices, open, by chain."""

    def __init__(self, name: str, chains: Iterable[ChainName]) -> None:
        self.programs: dict[ChainName, Program] = {}
        for chain in chains:
            self.programs[chain] = open_program(place_of(name).pins / f"program_{chain}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.programs.values():
            program.close()


def _settings(version: Version) -> set[str]:
    return {config.name for config in version.bundle.manifest.configs}


def _numbered(hook: Hook, chain: ChainName, frames: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """The frames that a trial run takes, with their numbers."""
    return [(number, frame) for number, frame in enumerate(frames) if taken(hook, chain, frame)]
