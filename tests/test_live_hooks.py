"""Where a service sits: several devices under one name, what goes out, devices down and up, other filters beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.lab import Lab, Namespace
from pcnc.cli.compile_service import recompile
from pcnc.manifest import Hook
from pcnc.rule_edits import AddRule, DeleteRule, Edit
from pcnc.rules import MaskedValue, Rule
from pcnc_runtime.attach import XdpMode, xdp_attachment
from pcnc_runtime.build import compile_source
from pcnc_runtime.objects import ObjectFile
from pcnc_runtime.operations import change_rules, describe
from pcnc_runtime.pins import bpffs, pin, unlink
from tests.live_hosts import BAD, BAD6, GOOD, GOOD6, HOOKS, Hosts, Place, on
from tests.live_service import Wire, chain, loaded, prefix, reason, udp

pytestmark = pytest.mark.kernel

BOTH_WAYS = """
service both_ways {
    table sources { match ipv4.src: lpm; action drop, next; count packets }
    table targets { match ipv4.dst: lpm; action drop, next; count packets }
    table far     { match ipv6.dst: lpm; action drop, next; count packets }
    chain ingress { sources }
    chain egress  { targets; far }
}
"""
EVERYTHING, NOTHING = [True] * 3, [False] * 3


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


@pytest.fixture
def hosts(lab: Lab) -> Iterator[Hosts]:
    made = Hosts(lab)
    yield made
    made.close()


@pytest.fixture(params=HOOKS, ids=[name for name, _, _ in HOOKS])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.param
    return found


def changed(name: str, *edits: Edit) -> None:
    change_rules(name, edits, recompile=recompile)


def to(table: str, text: str) -> AddRule:
    return AddRule(table, prefix(text))


def reached(client: Namespace, address: str) -> bool:
    """Whether an echo comes back."""
    try:
        client.run("ping", "-n", "-q", "-c", "3", "-i", "0.02", "-W", "0.5", address)
    except RuntimeError:
        return False
    return True


def test_what_goes_out_meets_the_egress_chain(hosts: Hosts, place: Place) -> None:
    _, hook, mode = place
    with on(hosts.server, BOTH_WAYS, hook, mode) as name:
        assert {(at.chain, at.hook, at.mode) for at in describe(name).attachments} == {
            ("ingress", hook, mode or ""),
            ("egress", "tc", ""),
        }
        changed(name, to("targets", BAD), to("sources", "198.51.100.0/24"))
        assert hosts.reach(GOOD) == EVERYTHING
        assert hosts.reach(BAD) == NOTHING
        assert reason(name, "drop: rule targets", "egress") > 0
        assert chain(name).dropped == 0, "the questions came in"
        # The only rule over IPv6 comes and goes: the parser of one chain changes, that of the other does not.
        changed(name, AddRule("far", Rule((MaskedValue(0, 0),), "drop")))
        assert hosts.reach(GOOD6) == NOTHING
        assert hosts.reach(GOOD) == EVERYTHING
        changed(name, DeleteRule("far", id=1), DeleteRule("targets", id=1))
        assert hosts.reach(BAD6) == hosts.reach(BAD) == EVERYTHING


def test_two_devices_share_a_name_its_rules_and_its_counts(lab: Lab, place: Place) -> None:
    _, hook, mode = place
    server, clients = lab.namespace("server"), [lab.namespace("first"), lab.namespace("second")]
    for number, client in enumerate(clients):
        lab.veth(client, "eth0", server, f"eth{number}")
        client.run("ip", "address", "add", f"10.81.{number}.2/24", "dev", "eth0")
        server.run("ip", "address", "add", f"10.81.{number}.1/24", "dev", f"eth{number}")
    with on(server, BOTH_WAYS, hook, mode, "eth0", "eth1") as name:

        def reaches() -> list[bool]:
            with ThreadPoolExecutor() as pool:
                return list(pool.map(reached, clients, ("10.81.0.1", "10.81.1.1")))

        assert len(describe(name).attachments) == 4
        assert reaches() == [True, True]
        changed(name, to("sources", "10.81.1.0/24"))
        assert reaches() == [True, False]
        changed(name, to("sources", "10.81.0.0/24"))
        before = reason(name, "drop: rule sources")
        assert reaches() == [False, False]
        assert reason(name, "drop: rule sources") - before >= 6, "three of each"
        changed(name, DeleteRule("sources", id=1))
        assert reaches() == [False, True]
        server.run("ip", "link", "set", "eth0", "down")
        assert reaches() == [False, True]
        changed(name, DeleteRule("sources", id=2))
        server.run("ip", "link", "set", "eth0", "up")
        assert reaches() == [True, True]
        server.run("ip", "link", "del", "eth1")
        assert reaches() == [True, False]
        changed(name, to("sources", "10.81.0.0/24"))
        assert reaches() == [False, False]
        assert sorted((at.device, at.state) for at in describe(name).attachments) == [
            ("eth0", "attached"),
            ("eth0", "attached"),
            ("eth1", "gone"),
            ("eth1", "gone"),
        ]
    assert reaches() == [True, False]


def test_a_device_goes_down_and_comes_up_with_its_service(hosts: Hosts, place: Place) -> None:
    _, hook, mode = place
    with on(hosts.server, BOTH_WAYS, hook, mode) as name:
        changed(name, to("sources", BAD))
        for turn in range(3):
            hosts.server.run("ip", "link", "set", "eth0", "down")
            assert not hosts.pings(GOOD)
            if turn == 1:
                changed(name, to("sources", GOOD))
            if turn == 2:
                changed(name, DeleteRule("sources", id=2))
            hosts.server.run("ip", "link", "set", "eth0", "up")
            assert hosts.pings(GOOD) == (turn != 1)
            assert not hosts.pings(BAD)
            assert {at.state for at in describe(name).attachments} == {"attached"}
        assert hosts.connects(GOOD)


@pytest.mark.parametrize("mode", [XdpMode.NATIVE, XdpMode.GENERIC])
def test_the_mode_that_is_asked_for_is_taken(hosts: Hosts, mode: XdpMode) -> None:
    with on(hosts.server, BOTH_WAYS, "xdp", mode) as name, hosts.server.entered():
        found = xdp_attachment("eth0")
        assert found is not None
        assert found.mode is mode
        assert {at.mode for at in describe(name).attachments} == {mode, ""}


PASS_OR_NEXT = """
service verdicts { chain ingress { stage choose { if udp { if udp.dport == 1 { pass }; if udp.dport == 2 { drop } } } } }
"""
LATER = """
#include <linux/bpf.h>
char _license[] __attribute__((section("license"), used)) = "Dual BSD/GPL";
__attribute__((section("tc"), used)) int later(struct __sk_buff *context) { return context->len > 60 ? 2 : -1; }
"""


def test_at_tc_pass_ends_the_filters_and_next_does_not(lab: Lab) -> None:
    """Behind the service stands a filter that drops all that is longer than 60 bytes."""
    with Wire(lab) as wire, loaded(wire, PASS_OR_NEXT, "tc") as name, ObjectFile(compile_source(LATER), "later") as opened:
        opened.load()
        place = bpffs() / f"pcnc_test_{os.getpid()}_later"
        pin(opened.program_fd("later"), place)
        try:
            wire.right.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "200", "bpf", "da", "object-pinned", str(place))
        finally:
            unlink(place)
        assert wire.passes(udp(dport=1, size=100))
        assert not wire.passes(udp(dport=2, size=1))
        assert not wire.passes(udp(dport=3, size=100)), "the filter behind"
        assert wire.passes(udp(dport=3, size=1))
        assert reason(name, "pass: stage choose") > 0
        assert reason(name, "next") > 0
        wire.right.run("tc", "filter", "del", "dev", "eth0", "ingress", "prio", "200")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_every_frame_is_counted_once(lab: Lab, hook: Hook) -> None:
    """Frames of all kinds and lengths, none answered: as many come out, are dropped for their reason, and counted, as were sent."""
    text = "service count { chain ingress { stage s { if ipv4 and ipv4.src == 10.0.0.9 { drop }; if not ipv4 { pass } } } }"
    with Wire(lab) as wire, loaded(wire, text, hook) as name:
        before = chain(name).packets
        frames = [
            udp("10.0.0.9"),
            udp("10.0.0.8"),
            udp()[:33],
            udp()[:15],
            udp()[:14],
            udp(size=1400),
            bytes(12) + b"\x88\xb5" + bytes(9),
        ]
        wanted = {"drop: stage s": 1, "next": 2, "pass: stage s": 4}
        for frame in frames:
            wire.send(frame, 10)
        deadline = time.monotonic() + 30
        while chain(name).packets - before < 70 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert chain(name).packets - before == 70
        assert {key: count for key, count in chain(name).reasons if count} == {key: 10 * count for key, count in wanted.items()}
