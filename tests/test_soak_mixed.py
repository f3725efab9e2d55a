"""No packet meets two versions, in small; and the checks that say so find out a swap that replaces blocks one by one."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace

import pytest

from bench import stamping
from bench.cpus import keep_to, split_cpus
from bench.lab import Lab
from bench.observer import MOST_FLOWS, NUMBER_OFFSET, Observer, flows
from bench.traffic import Generator, Kind, Sink
from pcnc.compile import check
from pcnc.source import Source
from pcnc_runtime import operations
from soak.mixed import Amounts, Mixed, Phase, measure_mixed, run_phase
from soak.naive import NaiveSwapper
from soak.wire import Counts, stamped_wire

NOTHING = Counts(*[0] * 15)


def phase(**counts: int) -> Phase:
    """A phase in which everything is as it should be, but for these counts."""
    return Phase("flips", 10, 1.0, 1e6, 9e5, 0.9, 900_000, 0, 0, 0, 1e-4, 1e-4, 10, replace(NOTHING, **counts))


def test_the_two_versions_leave_different_marks_at_every_stage() -> None:
    marks = [f"{stamping.marks(version):048b}" for version in (0, 1)]
    stages = [[mark[at : at + 6] for at in range(0, 48, 6)] for mark in marks]
    assert len({*stages[0], *stages[1]}) == 2 * stamping.STAGES
    for version in (0, 1):
        assert not check(Source("stamping.pcn", stamping.source(version))).warnings


@pytest.mark.parametrize("count", ["mixed", "of_two", "duplicated", "reordered", "foreign"])
def test_each_count_that_should_be_0_is_a_bound(count: str) -> None:
    assert all(bound.held for bound in phase().bounds)
    assert not all(bound.held for bound in phase(**{count: 1}).bounds)


def test_a_version_that_comes_back_without_a_flip_is_a_miss() -> None:
    assert all(bound.held for bound in replace(phase(), changes=10).bounds)
    assert not all(bound.held for bound in replace(phase(), changes=11).bounds)


@pytest.mark.parametrize("figure", ["lost", "lost_before_hook", "miscounted"])
def test_so_is_each_figure_made_of_counts(figure: str) -> None:
    wrong: dict[str, int] = {figure: 1}
    assert not all(bound.held for bound in replace(phase(), **wrong).bounds)  # type: ignore[arg-type]  # figures that are counts


def test_a_rate_not_held_and_a_naive_swap_not_found_out_are_misses() -> None:
    wanted = Amounts(flips=10, rollbacks=10, swaps=10, naive_swaps=10, packets=900_000)
    caught = phase(mixed=1, of_two=1)
    good = Mixed(phase(), phase(), phase(), caught)
    assert all(bound.held for bound in good.bounds(wanted))
    for bad in (
        replace(good, naive=phase()),
        replace(good, swaps=replace(phase(), share=0.89)),
        replace(good, flips=replace(phase(), flips=9)),
        replace(good, flips=replace(phase(), changes=9)),
        replace(good, flips=replace(phase(), sent=899_999)),
    ):
        assert not all(bound.held for bound in bad.bounds(wanted))


# ---- kernel


@pytest.mark.kernel
def test_no_packet_meets_two_versions_but_by_a_naive_swap() -> None:
    """The rate is not asked for here: whoever tests shares the machine."""
    amounts = Amounts(flips=300, rollbacks=20, swaps=20, naive_swaps=10, packets=1_000_000)
    result = measure_mixed(amounts)
    missed = [bound for bound in result.bounds(amounts, share=0.0) if not bound.held]
    assert missed == []
    assert result.naive.lost == 0, "it loses nothing, and still is wrong"


@pytest.mark.kernel
def test_the_same_run_fails_with_a_naive_swap() -> None:
    with stamped_wire() as wire, NaiveSwapper(wire.name, (stamping.bundle(0), stamping.bundle(1))) as naive:
        naive.swap(0)
        found = run_phase(wire, "naive swaps", naive.swap, 20, 0)
    missed = {bound.what.strip() for bound in found.bounds if not bound.held}
    assert {"met two versions, behind the verdict", "met two versions, by the service's count"} <= missed
    assert "changes of version, as packets saw them" in missed


@pytest.mark.kernel
def test_the_observer_tells_lost_doubled_and_late_frames_apart(lab: Lab) -> None:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    with Sink(right, "eth0", Kind.GATE), Observer(right, "eth0", (0, 7)) as observer:
        frames = flows(2)
        sent = [(0, 0), (0, 1), (0, 3), (0, 2), (0, 2), (1, 0), (1, 5)]
        with left.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("eth0", 0))
            for flow, number in sent:
                frame = bytearray(frames[flow])
                frame[NUMBER_OFFSET : NUMBER_OFFSET + 8] = number.to_bytes(8, sys.byteorder)
                frame[11] = 7 * flow
                sender.send(frame)
            sender.send(bytes(12) + b"\x08\x00" + b"\xff" * 80)
            frame[11] = 1
            frame[NUMBER_OFFSET : NUMBER_OFFSET + 8] = (6).to_bytes(8, sys.byteorder)
            sender.send(frame)
        seen = observer.read()
        first, second = seen.flows[:2]
        assert (first.arrived, first.next, first.duplicated, first.reordered) == (4, 4, 1, 1)
        assert (first.first, second.second, second.mixed) == (4, 2, 1)
        assert (second.arrived, second.next) == (3, 7)
        assert seen.foreign == 1
        assert len(seen.flows) == MOST_FLOWS
        changed = observer.changed()
        assert [change.marks for change in changed] == [7, 1]
        assert all(0 < change.last <= change.first <= time.monotonic() for change in changed)
        observer.forget()
        assert observer.arrived == 0


@pytest.mark.kernel
def test_a_generator_numbers_each_packet_by_itself_and_makes_up_for_pauses(lab: Lab) -> None:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    with Sink(right, "eth0", Kind.GATE), Observer(right, "eth0", (0, 1)) as observer:
        with Generator(left, "eth0", *flows(3), rate=20_000, burst=1 << 20, number=NUMBER_OFFSET, urgent=True) as generator:
            time.sleep(0.5)
            sent = generator.stop()
            each = generator.sent_each
        assert observer.wait_for(sent) == sent
        found = observer.read()
        assert [flow.next for flow in found.flows[:3]] == list(each)
        assert found.total("duplicated") == found.total("reordered") == 0
    with pytest.raises(ValueError, match="within every packet"):
        Generator(left, "eth0", *flows(1), number=len(flows(1)[0]) - 7)


def test_keeping_to_cpus_ends_with_the_block() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    with keep_to([min(before[0])], urgent=True):
        assert os.sched_getaffinity(0) == {min(before[0])}
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


def test_nobody_goes_first_where_there_is_one_cpu() -> None:
    before = os.sched_getaffinity(0)
    with keep_to([min(before)]):
        alone = split_cpus()
    assert (alone.traffic, alone.others, alone.apart) == (min(before), frozenset([min(before)]), False)
    assert split_cpus().apart is (len(before) > 1)


@pytest.mark.kernel
def test_a_stamped_wire_leaves_nothing() -> None:
    with stamped_wire() as wire:
        assert wire.name in operations.loaded_names()
    assert wire.name not in operations.loaded_names()
