"""One service several times over: on the interpreter, and in the kernel at XDP and TC, for its rules and for any rules.

    with Agreement(text) as service:
        service.set_rules("acl", rules)
        outcome = service.run(frame)

`run` holds the compiled programs against the interpreter: verdict, reason, bytes and every count.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Self

import pytest

from pcnc.cli.compile_service import Chosen, build_shape
from pcnc.interpret import Interpreter, Lookup, Outcome
from pcnc.manifest import Hook, Toolchain, Variant
from pcnc.program import Program, Service
from pcnc.program_words import ChainName
from pcnc.rules import Rule
from pcnc.shape import Shape, widest_shape
from pcnc_ebpf.plan import plan_manifest
from pcnc_runtime.toolchains import choose_compiler
from pcnc_runtime.trial import Trial
from tests.pcn_text import program_of, rules_of

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
_TRIALS: tuple[tuple[str, Hook, bool], ...] = (
    ("xdp", "xdp", False),
    ("xdp, general", "xdp", True),
    ("tc", "tc", False),
    ("tc, general", "tc", True),
)


class Agreement:
    """A service under test; `run` asserts that all of its forms do the same."""

    def __init__(self, text: str, *, general: bool = True) -> None:
        self.program, self.service = program_of(text)
        self.interpreter = Interpreter(self.program, self.service, {})
        self.tried = 0
        self._stack = ExitStack()
        self._trials: dict[str, Trial] = {}
        self._text, self._general = text, general
        self._counting = [table for table in self.service.tables if table.count_packets]

    def __enter__(self) -> Self:
        for name, hook, widest in _TRIALS:
            if not widest or self._general:
                manifest, _ = plan_manifest(self.program, self.service, hook, [])
                trial = Trial(manifest, compiler(self.program, self.service, hook, widest=widest))
                self._trials[name] = self._stack.enter_context(trial)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def set_rules(self, table: str, rules: Sequence[Rule] | str) -> None:
        """Replaces the rules of a table."""
        held = rules_of(self.service, table, rules) if isinstance(rules, str) else tuple(rules)
        self.interpreter.set_rules(table, held)
        for trial in self._trials.values():
            trial.set_rules(table, held)

    def set_config(self, name: str, value: int) -> None:
        """Changes a setting."""
        self.interpreter.set_config(name, value)
        for trial in self._trials.values():
            trial.set_config(name, value)

    def run(self, frame: bytes, chain: ChainName = "ingress") -> Outcome:
        """What becomes of a frame, everywhere the same; TC's trial run does not take every frame."""
        meant = self.interpreter.run(chain, frame)
        left = meant.frame if meant.verdict != "drop" else frame
        for name, trial in self._trials.items():
            if not taken(name, chain, frame):
                refused_with_einval(trial, chain, frame)
                continue
            actual = trial.run(chain, frame)
            same = (actual.verdict, actual.reason, actual.frame.hex()) == (meant.verdict, meant.reason, left.hex())
            assert same, f"{name}: {actual} instead of {meant}, of {frame.hex()}"
            self.tried += 1
        return meant

    def hits(self, frame: bytes, chain: ChainName = "ingress") -> dict[str, int]:
        """Which rule of each table a frame hits (0 the default), by the one count that moves in each of them."""
        before = {name: self._counts(trial) for name, trial in self._trials.items()}
        meant = {step.table: step.rule for step in self.run(frame, chain).steps if isinstance(step, Lookup)}
        for name, trial in self._trials.items():
            if not taken(name, chain, frame):
                continue
            wanted = dict(before[name])
            for table in self._counting:
                if table.name in meant:
                    packets, size = wanted[table.name, meant[table.name]]
                    wanted[table.name, meant[table.name]] = packets + 1, size + len(frame) * table.count_bytes
            assert self._counts(trial) == wanted, (name, meant, frame.hex())
        return meant

    def _counts(self, trial: Trial) -> dict[tuple[str, int], tuple[int, int]]:
        return {
            (table, number): (trial.counter(table, number, "packets"), trial.counter(table, number, "bytes"))
            for table, number in self.interpreter.counters
            if table in {each.name for each in self._counting}
        }


def taken(trial: str, chain: ChainName, frame: bytes) -> bool:
    """Whether TEST_RUN takes a frame: one of 14 bytes, and at TC, where egress always is, with room for the IP header."""
    at_tc = trial.startswith("tc") or chain == "egress"
    return len(frame) >= ({IPV4: 34, IPV6: 54}.get(frame[12:14], 14) if at_tc else 14)


def refused_with_einval(trial: Trial, chain: ChainName, frame: bytes) -> None:
    """Expects that the kernel does not take the frame for a trial run."""
    with pytest.raises(OSError, match="Invalid argument") as caught:
        trial.run(chain, frame)
    assert caught.value.errno == errno.EINVAL


def compiler(
    program: Program, service: Service, hook: Hook, *, widest: bool = False, toolchain: Toolchain | None = None
) -> Callable[[Shape], tuple[Variant, Mapping[str, bytes]]]:
    """Compiles the service for a shape, or always for the widest one; each of them once."""
    by = choose_compiler(toolchain).compiler

    @cache
    def compiled(shape: Shape) -> tuple[Variant, Mapping[str, bytes]]:
        built = build_shape(Chosen(program, service), hook, shape, by)
        return built.variant, built.files

    return lambda shape: compiled(widest_shape(service.schemas) if widest else shape)
