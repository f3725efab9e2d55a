"""Swaps that bring a chain or end one: what is on the devices follows, in one instant, and whatever happens on the way."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.lab import Lab
from bench.traffic import Generator, Kind, Sink
from pcnc.manifest import Hook
from pcnc_runtime import attach
from pcnc_runtime.attach import Direction, XdpMode, attach_tc, attach_xdp, detach_tc, detach_xdp, has_clsact, xdp_attachment
from pcnc_runtime.counts import NO_GENERATION
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import describe, load, restore, rollback, set_configs, swap, unload
from pcnc_runtime.pins import list_pins, open_map, unlink
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType
from pcnc_runtime.state import place_of
from tests.live_service import Wire, chain, compiled, loaded, new_name, reason, traces, udp
from tests.reboot import went_down

pytestmark = pytest.mark.kernel

HOOKS: tuple[Hook, ...] = ("xdp", "tc")


def service(*chains: str) -> str:
    """One that drops UDP to port 1 on its way in, to port 2 on its way out, as far as it has the chain."""
    port = {"ingress": 1, "egress": 2}
    steps = {each: f"stage {each}_port {{ if udp {{ if udp.dport == {port[each]} {{ drop }} }} }}" for each in chains}
    text = "\n".join(f"chain {each} {{ stage note_{each} {{ seen = limit }}; {steps[each]} }}" for each in chains)
    return f"service both {{ config limit: u8 = 0; meta seen: u8\n{text} }}"


IN, OUT, BOTH = service("ingress"), service("egress"), service("ingress", "egress")
TO_IN, TO_OUT, NEITHER = udp(dport=1), udp(dport=2), udp(dport=4)


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def filters(wire: Wire) -> tuple[bool, bool]:
    """Whether ingress and egress are filtered."""
    return not wire.passes(TO_IN, NEITHER), not wire.leaves(TO_OUT, NEITHER)


def on_device(wire: Wire) -> set[str]:
    """What the device carries: its hooks with a program, and the qdisc that filters hang on."""
    with wire.right.entered():
        found = {f"tc {direction}" for direction in Direction if attach.tc_program_id("eth0", direction)}
        if xdp_attachment("eth0"):
            found.add("xdp")
        return found | ({"clsact"} if has_clsact("eth0") else set())


def chains(name: str) -> tuple[str, ...]:
    """The chains that something is pinned of beside the generations."""
    return tuple(pin.removeprefix("entry_") for pin in list_pins(place_of(name).pins) if pin.startswith("entry_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_chain_comes_and_goes_with_the_version_that_has_it(wire: Wire, hook: Hook) -> None:
    """Each of the three to each of the others."""
    at_ingress = {"xdp"} if hook == "xdp" else {"tc ingress", "clsact"}
    expected = {
        IN: ((True, False), at_ingress),
        OUT: ((False, True), {"tc egress", "clsact"}),
        BOTH: ((True, True), at_ingress | {"tc egress", "clsact"}),
    }
    with loaded(wire, IN, hook) as name:
        for version in (OUT, BOTH, IN, BOTH, OUT, IN):
            before = {at.chain for at in describe(name).attachments}
            change = swap(name, compiled(version, hook).bundle)
            now = {at.chain for at in describe(name).attachments}
            assert {at.chain for at in change.attachments} == now - before
            assert {at.chain for at in change.detached} == before - now
            assert filters(wire) == expected[version][0]
            assert on_device(wire) == expected[version][1]
            assert set(chains(name)) == now == {at.plan.chain for at in describe(name).chains}
        found = traces(name)
    assert found.remaining() == []
    assert on_device(wire) == set()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_rollback_goes_back_over_it_and_forward_again(wire: Wire, hook: Hook) -> None:
    with loaded(wire, IN, hook) as name:
        for version, filtered in ((BOTH, (True, True)), (OUT, (False, True)), (IN, (True, False))):
            before = filters(wire), on_device(wire)
            swap(name, compiled(version, hook).bundle)
            after = filters(wire), on_device(wire)
            assert after[0] == filtered
            for wanted in (before, after, before, after):
                rollback(name)
                assert (filters(wire), on_device(wire)) == wanted
        # The next change lets the generation go that had the other chain.
        set_configs(name, {"limit": 3})
        rollback(name)
        set_configs(name, {"limit": 4})
        assert filters(wire) == (True, False)
        found = traces(name)
    assert found.remaining() == []


def test_a_mode_that_was_asked_for_is_taken_again(wire: Wire) -> None:
    with loaded(wire, OUT, mode=XdpMode.GENERIC) as name:
        assert [at.mode for at in swap(name, compiled(IN).bundle).attachments] == ["generic"]
        rollback(name)
        assert [at.mode for at in rollback(name).attachments] == ["generic"]


def test_totals_live_on_where_a_chain_comes_back(wire: Wire) -> None:
    with loaded(wire, BOTH) as name:
        assert not wire.leaves(TO_OUT)
        with open_map(place_of(name).pins / "entry_egress") as entry:
            first = entry.slot(0)
            entry.delete(0)
        assert first is not None
        assert not wire.leaves(udp(dport=3)), "fail closed"
        swap(name, compiled(BOTH.replace("udp.dport == 1", "udp.dport == 3")).bundle)
        dropped, lost = reason(name, "drop: stage egress_port", "egress"), reason(name, NO_GENERATION, "egress")
        assert dropped > 0
        assert lost > 0
        for version in (IN, IN.replace("= 0", "= 1"), IN.replace("= 0", "= 2"), BOTH):
            swap(name, compiled(version).bundle)
        assert reason(name, "drop: stage egress_port", "egress") == dropped
        assert reason(name, NO_GENERATION, "egress") == lost
        assert dict(chain(name, "egress").reasons)["next"] <= chain(name, "egress").packets


def test_a_chain_that_cannot_be_attached_everywhere_is_attached_nowhere(lab: Lab, wire: Wire) -> None:
    """Two devices, and somebody else's program on the second one: the old version runs on, and nothing of the new one is left."""
    lab.veth(wire.left, "eth1", wire.right, "eth1")
    name = new_name()
    with wire.right.entered():
        for first, second, kind in ((IN, BOTH, ProgramType.SCHED_CLS), (OUT, BOTH, ProgramType.XDP)):
            with load_minimal(kind) as foreign:
                if kind is ProgramType.XDP:
                    attach_xdp("eth1", foreign.fd)
                else:
                    attach_tc("eth1", Direction.EGRESS, foreign.fd)
                load(compiled(first).bundle, name, ["eth0", "eth1"])
                filtered, carried, state = filters(wire), on_device(wire), place_of(name).read()
                for _ in range(2):
                    with pytest.raises(RuntimeProblem) as caught:
                        swap(name, compiled(second).bundle)
                    assert caught.value.name in ("device-carries-tc", "device-carries-xdp")
                    assert (filters(wire), on_device(wire), place_of(name).read()) == (filtered, carried, state)
                    assert len(chains(name)) == 1
                    assert place_of(name).pinned_generations() == (1,)
                if kind is ProgramType.XDP:
                    detach_xdp("eth1", foreign.fd)
                else:
                    detach_tc("eth1", Direction.EGRESS, foreign.fd, remove_qdisc=True)
            swap(name, compiled(second).bundle)
            assert filters(wire) == (True, True)
            found = traces(name)
            unload(name)
            assert found.remaining() == []
        assert on_device(wire) == set()
        assert not has_clsact("eth1")


def test_a_device_that_is_gone_is_no_obstacle(lab: Lab, wire: Wire) -> None:
    lab.veth(wire.left, "eth1", wire.right, "eth1")
    name = new_name()
    with wire.right.entered():
        load(compiled(IN).bundle, name, ["eth0", "eth1"])
    wire.right.run("ip", "link", "del", "eth1")
    change = swap(name, compiled(BOTH).bundle)
    assert sorted((at.device, at.state) for at in change.attachments) == [("eth0", "attached"), ("eth1", "gone")]
    assert filters(wire) == (True, True)
    assert [at.device for at in swap(name, compiled(OUT).bundle).detached] == ["eth0", "eth1"]
    assert sorted((at.device, at.state) for at in unload(name)) == [("eth0", "attached"), ("eth1", "gone")]
    assert on_device(wire) == set()


def test_under_traffic_chains_come_and_go_and_nothing_is_lost(wire: Wire) -> None:
    """What comes in is counted to the last packet while egress comes and goes, and what goes out while ingress does."""
    with loaded(wire, BOTH) as name, Sink(wire.right, "eth0", Kind.TC) as behind:
        before = chain(name).packets
        with Generator(wire.left, "eth0", udp(), rate=100_000) as generator:
            while generator.sent < 1000:
                time.sleep(0.01)
            for _ in range(6):
                swap(name, compiled(IN).bundle)
                rollback(name)
            sent = generator.stop()
        assert generator.overruns == 0
        assert behind.wait_for(sent) == sent
        assert chain(name).packets - before == reason(name, "next") - before == sent


# ---- killed on the way

_POINTS = {
    "pin",
    "unlink",
    "write_file",
    "set_slot",
    "_set_filter",
    "_set_xdp",
    "wait_for_packets",
    "remove_tree",
    "_remove_empty_clsact",
}


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Does something in a process of its own, which is killed at the begin or end of what changes something, counted from 0.

    False where it was done before.
    """
    child = os.fork()
    if child == 0:
        passed = 0

        def watch(frame: FrameType, event: str, _: Any) -> None:
            nonlocal passed
            if event in ("call", "return") and frame.f_code.co_name in _POINTS and "pcnc_runtime" in frame.f_code.co_filename:
                if passed == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                passed += 1

        try:
            sys.setprofile(watch)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("hook", HOOKS)
def test_killed_anywhere_on_the_way_it_is_the_old_or_the_new_one(wire: Wire, hook: Hook) -> None:
    dice = random.Random(11)
    versions = {IN: (True, False), BOTH: (True, True), OUT: (False, True)}
    killed = 0
    with loaded(wire, IN, hook) as name:
        for _ in range(16):
            version = dice.choice([version for version in versions if versions[version] != filters(wire)])
            old, new, point = filters(wire), versions[version], dice.randrange(70)
            bundle = compiled(version, hook).bundle
            killed += killed_at(point, lambda bundle=bundle: swap(name, bundle))  # type: ignore[misc]
            found = filters(wire)
            # Between the two writes of a version with the other chain alone both are filtered, never none.
            assert found in (old, new, (True, True)), f"killed at {point}"
            if dice.random() < 0.5:
                swap(name, bundle)
                found = new
            else:
                set_configs(name, {"limit": dice.randrange(200)})
                # What was in force stays; what was begun, by the first of two writes, is ended.
                allowed, found = {old: (old, new), new: (new,)}.get(found, (new,)), filters(wire)
                assert found in allowed, f"killed at {point}"
            assert filters(wire) == found, f"killed at {point}"
            wanted = {"ingress": found[0], "egress": found[1]}
            assert set(chains(name)) == {each for each, there in wanted.items() if there}, f"killed at {point}"
            carried = {each.split()[-1] for each in on_device(wire) - {"clsact"}}
            assert carried == {"ingress" if each == "ingress" and hook == "tc" else {"ingress": "xdp"}.get(each, each)
                               for each in chains(name)}, f"killed at {point}"  # fmt: skip
            assert ("clsact" in on_device(wire)) == (hook == "tc" or "egress" in chains(name)), f"killed at {point}"
        traced = traces(name)
    assert killed >= 8
    assert traced.remaining() == []
    assert on_device(wire) == set()


@pytest.mark.parametrize("added", [False, True])
def test_killed_around_the_adding_of_the_qdisc_none_stays_behind(wire: Wire, added: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    name, bundle = new_name(), compiled(IN, "tc").bundle

    def die(*_: object, **__: object) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def load_and_die() -> None:
        monkeypatch.setattr(*(("pcnc_runtime.attach._set_filter", die) if added else ("pcnc_runtime.attachments.attach_tc", die)))
        load(bundle, name, ["eth0"])

    with wire.right.entered():
        assert killed_at(10_000, load_and_die)
        assert on_device(wire) == ({"clsact"} if added else set())
        with pytest.raises(RuntimeProblem):
            rollback(name)
        assert on_device(wire) == set()
        assert not place_of(name).pins.exists()


def test_the_qdisc_of_somebody_else_stays(wire: Wire) -> None:
    wire.right.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    with loaded(wire, BOTH, "tc") as name:
        swap(name, compiled(OUT, "tc").bundle)
        swap(name, compiled(IN, "tc").bundle)
    assert on_device(wire) == {"clsact"}


@pytest.mark.parametrize("first", ["ingress", "egress"])
def test_the_qdisc_goes_with_the_last_service_that_needs_it(wire: Wire, first: str) -> None:
    """Whichever of two services brought it, and whichever goes first."""
    names = new_name(), new_name()
    with wire.right.entered():
        for name, version in zip(names, (IN, OUT), strict=True):
            load(compiled(version, "tc").bundle, name, ["eth0"])
        assert filters(wire) == (True, True)
        for name in names if first == "ingress" else reversed(names):
            assert "clsact" in on_device(wire)
            unload(name)
    assert on_device(wire) == set()


def test_our_qdisc_goes_even_where_somebody_removed_our_filters(wire: Wire) -> None:
    with loaded(wire, BOTH, "tc"):
        for direction in ("ingress", "egress"):
            wire.right.run("tc", "filter", "del", "dev", "eth0", direction)
        assert on_device(wire) == {"clsact"}
    assert on_device(wire) == set()


def test_a_service_that_lost_the_entry_of_one_chain_says_so(wire: Wire) -> None:
    """Half of it would change otherwise, and the other half go on by the old version."""
    with loaded(wire, BOTH) as name:
        unlink(place_of(name).pins / "entry_egress")
        commands: tuple[Callable[[], object], ...]
        commands = (lambda: set_configs(name, {"limit": 1}), lambda: swap(name, compiled(IN).bundle))
        for command in commands:
            with pytest.raises(RuntimeProblem) as caught:
                command()
            assert caught.value.name == "pins-lost"
        assert filters(wire)[0]
        assert {at.state for at in unload(name)} == {"attached"}
    assert on_device(wire) == set()


@pytest.mark.parametrize("hook", HOOKS)
def test_a_reboot_brings_the_version_with_the_other_chains_back_too(wire: Wire, hook: Hook) -> None:
    """What was in force, and what a rollback goes to."""
    with loaded(wire, IN, hook) as name:
        swap(name, compiled(BOTH, hook).bundle)
        swap(name, compiled(OUT, hook).bundle)
        went_down(name)
        assert filters(wire) == (False, False)
        assert [each.outcome for each in restore([name])] == ["restored"]
        assert filters(wire) == (False, True)
        for wanted in ((True, True), (False, True)):
            rollback(name)
            assert filters(wire) == wanted
        found = traces(name)
    assert found.remaining() == []
    assert on_device(wire) == set()
