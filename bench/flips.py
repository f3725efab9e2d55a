"""How long it takes until packets meet a change: a rule more or less, and a new version, each from the call to the first packet.

Packets themselves tell: blocks mark them, and an observer behind the verdict notes when the last one with the old marks came and
the first with the new ones. In the same run an XDP program is replaced through its link, the usual way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from statistics import median

from bench.cpus import keep_to, split_cpus
from bench.lab import Lab, Namespace
from bench.observer import Marked, Observer, flows
from bench.replace_link import LinkedProgram
from bench.swaps import percentile
from bench.timed_build import empty_cache, timed_build
from bench.traffic import Generator
from pcnc.rule_edits import AddRule, DeleteRule
from pcnc.rule_reader import read_rules
from pcnc.rules import TableSchema
from pcnc.source import Source
from pcnc_runtime import operations
from pcnc_runtime.changes import Change
from pcnc_runtime.phases import Phase, listening, phase

RULES = (1, 100, 10_000)
CHANGES = 40
VERSIONS = 6
LINK_UPDATES = 40

FLIP_BOUND = 1e-3
"""Seconds that a flip stays below, at the median: a matter of microseconds."""

PHASES = ("parse", "optimise", "emit", "compile", "load", "flip")
"""Parts of a change, in their order; what is left is the lock, the records and, with `synced` files, the disk."""

_RATE = 1_000_000  # packets a second: by so little are the times too long
_RULE = "10.0.0.1 -> mark(7)"  # that is where `flows` come from
_MARK = 7
_PAUSED = 1e-3  # seconds without a packet: a thousand are missing
_MOST_TRIES = 10
_APART = 0.05  # seconds, at most, from one update of a link to the next


@dataclass(frozen=True, slots=True)
class Flipped:
    """Changes of one kind in a service of so many rules. Medians in seconds, but for what is called p99.

    `effect` is from the call to the first packet that was treated by the new version, `phases` what it consists of, by PHASES.
    `write` is how long the one write took that puts a version into force; `last` from its beginning to the last packet treated by
    the old version, `first` to the first one treated by the new. These two and `effect` are of the `told` runs in which packets
    came all the time: the generator pauses now and then.
    """

    what: str
    rules: int
    runs: int
    told: int
    effect: float
    phases: dict[str, float]
    write: float
    write_p99: float
    last: float
    last_p99: float
    first: float


def source(version: int, rules: int) -> str:
    """The text of a service that marks packets with its version, and those of one address otherwise; so many rules are in it."""
    listed = "\n".join(f"        172.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255} -> mark(1)" for n in range(rules))
    return f"""service marking {{
    table sources {{
        match   ipv4.src: lpm
        action  mark, next
        default next
        size    16k
    }}
    action mark(value: u8) {{ eth.src = mac_addr(u64(value)) }}
    rules sources {{
{listed}
    }}
    chain ingress {{
        stage version {{ eth.src = mac_addr({version}) }}
        sources
    }}
}}
"""


def measure_flips(
    rules: Sequence[int] = RULES,
    changes: int = CHANGES,
    versions: int = VERSIONS,
    link_updates: int = LINK_UPDATES,
    progress: Callable[[str], object] = lambda doing: None,
) -> list[Flipped]:
    """For each number of rules: rules added and deleted so often, and so many new versions from source; and links updated.

    RuntimeProblem, OSError, RuntimeError where the kernel refuses, or packets do not tell what must have happened.
    """
    found: list[Flipped] = []
    for count in rules:
        progress(f"{count:,} rules")
        with empty_cache(), _traffic() as (namespace, observer):
            found += _measure_service(namespace, observer, count, changes, versions)
    progress("links")
    found.append(_measure_links(link_updates))
    return found


def _measure_links(updates: int) -> Flipped:
    """The call waits until every CPU has let go of the old program: it is timed with traffic that gives way to others at times."""
    rows, random = [], Random(1)
    for urgent in (True, False):
        with _traffic(urgent=urgent) as (namespace, observer), LinkedProgram(namespace, "eth0") as linked:
            measured = _Measured(observer)
            with measured.change(1):
                pass  # that is the one there
            while measured.wants(updates):
                # The call and the generator's pauses wait for the same grace periods, and would fall into step.
                time.sleep(_APART * random.random())
                mark = 2 - measured.runs % 2
                with measured.change(mark), phase("flip"):
                    linked.replace(mark)
            rows.append(measured.result("XDP program replaced through its link", 0))
    seen, timed = rows
    return replace(seen, write=timed.write, write_p99=timed.write_p99, phases=timed.phases)


@contextmanager
def _traffic(*, urgent: bool = True) -> Iterator[tuple[Namespace, Observer]]:
    """Packets of one flow to a device that carries nothing yet, and an observer there. The caller is kept off their CPU."""
    cpus = split_cpus()
    with Lab() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "eth0", right, "eth0", gro=True)
        with (
            Observer(right, "eth0", (0, _MARK)) as observer,
            Generator(left, "eth0", *flows(1), rate=_RATE, cpu=cpus.traffic, urgent=urgent and cpus.apart),
            keep_to(cpus.others, urgent=cpus.apart),
        ):
            yield right, observer


def _measure_service(namespace: Namespace, observer: Observer, rules: int, changes: int, versions: int) -> Iterator[Flipped]:
    name, version = f"bench-{os.getpid()}", 256
    with namespace.entered():
        operations.load(timed_build(source(version, rules)), name, ["eth0"])
    try:
        (schema,) = operations.read_schemas(name)
        _wait_for(observer, version)
        measured = _Measured(observer)
        while measured.wants(changes) or measured.runs % 2:
            add = measured.runs % 2 == 0
            with measured.change(_MARK if add else version):
                change = _change_rule(name, schema, add=add)
            if change.compiled:
                raise RuntimeError("one rule more or less was compiled for: its shape should be known")
        yield measured.result("rule added or deleted", rules)
        measured = _Measured(observer)
        while measured.wants(versions):
            version += 1
            with measured.change(version):
                operations.swap(name, timed_build(source(version, rules)))
        yield measured.result("new version from source", rules)
    finally:
        operations.unload(name)


def _change_rule(name: str, schema: TableSchema, *, add: bool) -> Change:
    with phase("parse"):
        read, _ = read_rules(Source("<rule>", _RULE), schema)
    (rule,) = read
    edit = AddRule(schema.name, rule) if add else DeleteRule(schema.name, match=rule.matches)
    return operations.change_rules(name, [edit])


def _wait_for(observer: Observer, marks: int) -> None:
    deadline = time.monotonic() + 5
    while observer.marks != marks:
        if time.monotonic() > deadline:
            raise RuntimeError("no packet shows what treated it")
        time.sleep(0.01)


class _Measured:
    """What packets tell of changes of one kind."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._known = observer.changes
        self._effects: list[float] = []
        self._phases: dict[str, list[float]] = {name: [] for name in PHASES}
        self._lasts: list[float] = []
        self._firsts: list[float] = []

    @property
    def runs(self) -> int:
        """How many changes were made."""
        return len(self._phases["flip"])

    def wants(self, runs: int) -> bool:
        """Whether to go on: until that many were made and packets have told of one, but not for ever."""
        return self.runs < runs or (not self._effects and self.runs < _MOST_TRIES * runs)

    @contextmanager
    def change(self, marks: int) -> Iterator[None]:
        """The block changes something, so that packets have these marks. RuntimeError where they tell something else."""
        with listening() as heard:
            began = time.perf_counter()
            yield
        _wait_for(self._observer, marks)
        seen = self._observer.changed(self._known)
        self._known += len(seen)
        writes = [part for part in heard if part.name == "flip"]
        if not writes:  # there was nothing before
            return
        if [each.marks for each in seen] != [marks]:
            raise RuntimeError(f"packets were marked {[each.marks for each in seen]}, and should have been {marks} alone")
        self._note(began, heard, writes[-1], seen[0])

    def _note(self, began: float, heard: Sequence[Phase], write: Phase, seen: Marked) -> None:
        if seen.first - seen.last < _PAUSED:
            self._effects.append(seen.first - began)
            self._lasts.append(seen.last - write.began)
            self._firsts.append(seen.first - write.began)
        for name, values in self._phases.items():
            values.append(sum(part.seconds for part in heard if part.name == name))

    def result(self, what: str, rules: int) -> Flipped:
        """The medians. RuntimeError where packets told nothing."""
        writes = self._phases["flip"]
        if not self._effects:
            raise RuntimeError(f"no packets came when it mattered: {what}")
        return Flipped(
            what=what,
            rules=rules,
            runs=self.runs,
            told=len(self._effects),
            effect=median(self._effects),
            phases={name: median(values) for name, values in self._phases.items()},
            write=median(writes),
            write_p99=percentile(writes, 99),
            last=median(self._lasts),
            last_p99=percentile(self._lasts, 99),
            first=median(self._firsts),
        )
