"""Namespaces that leave nothing behind, and traffic of which every frame is accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dpkt
import pytest

from bench.lab import Lab, Namespace
from bench.traffic import Generator, Kind, Sink, Variation, lossless_rate

ROOT = Path(__file__).parents[1]


def frame(payload: bytes = bytes(18)) -> bytes:
    """A UDP datagram from 10.0.0.1 to 10.0.0.99, all checksums right."""
    udp = dpkt.udp.UDP(sport=1234, dport=53, data=payload, ulen=8 + len(payload))
    ip = dpkt.ip.IP(src=bytes([10, 0, 0, 1]), dst=bytes([10, 0, 0, 99]), p=17, ttl=64, data=udp, len=28 + len(payload))
    return bytes(dpkt.ethernet.Ethernet(src=bytes([2, 0, 0, 0, 0, 1]), dst=b"\xff" * 6, type=0x0800, data=ip))


@pytest.fixture
def wire(lab: Lab) -> tuple[Namespace, Namespace]:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    return left, right


pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("rate", [2_000, 200_000, None])
def test_what_is_sent_arrives_and_is_counted(wire: tuple[Namespace, Namespace], rate: float | None) -> None:
    left, right = wire
    with Sink(right, "eth0") as sink, Generator(left, "eth0", frame(), rate=rate) as generator:
        time.sleep(0.5)
        sent = generator.stop()
        arrived = sink.wait_for(sent)
        assert arrived == sent - generator.overruns
        assert generator.overruns == 0 or rate is None
        assert sink.bytes == arrived * len(frame())
        # A slow machine may send less, never more; the first half second has one pause.
        assert sent > 100
        assert rate is None or sent < rate * 1.2


def test_packets_take_turns_and_keep_their_lengths(wire: tuple[Namespace, Namespace]) -> None:
    left, right = wire
    packets = [frame(bytes(n)) for n in (18, 100, 1472)]
    with Sink(right, "eth0") as sink, Generator(left, "eth0", *packets, rate=10_000) as generator:
        time.sleep(0.3)
        generator.stop()
        each = generator.sent_each
        assert max(each) - min(each) <= 1
        assert min(each) > 0
        assert sink.wait_for(sum(each)) == sum(each)
        assert sink.bytes == sum(n * len(packet) for n, packet in zip(each, packets, strict=True))


def test_a_word_varies_and_its_checksums_follow(wire: tuple[Namespace, Namespace]) -> None:
    """A socket behind the stack takes them all: the stack checks both sums. The last octet of the source, and no other bit."""
    left, right = wire
    right.run("ip", "addr", "add", "10.0.0.99/24", "dev", "eth0")
    right.set("net/ipv4/conf/all/rp_filter", 0)
    right.set("net/ipv4/conf/eth0/rp_filter", 0)
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.0.0.99', 53)); s.settimeout(2)\n"
        "print('ready', flush=True); found = set()\n"
        "try:\n"
        "    for _ in range(300): found.add(s.recvfrom(99)[1])\n"
        "    print(sorted(found), flush=True)\n"
        "except TimeoutError: print('nothing came', len(found), flush=True)\n"
    )
    receiver = right.start(sys.executable, "-c", code)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    with (
        Sink(right, "eth0", Kind.GATE),
        Generator(left, "eth0", frame(), variation=Variation(26, 4, 4, checksums=(24, 40)), rate=2_000),
    ):
        words = receiver.stdout.readline()
    receiver.wait()
    receiver.stdout.close()
    assert words == f"{[(f'10.0.0.{n}', 1234) for n in (1, 2, 3, 4)]}\n"


def test_the_rate_can_change_while_it_runs(wire: tuple[Namespace, Namespace]) -> None:
    left, right = wire
    with Sink(right, "eth0"), Generator(left, "eth0", frame(), rate=1_000) as generator:
        time.sleep(0.3)
        slow = generator.sent
        generator.set_rate(100_000)
        time.sleep(0.3)
        assert generator.stop() - slow > slow * 5


def test_at_nine_tenths_of_the_lossless_rate_nothing_is_lost(wire: tuple[Namespace, Namespace]) -> None:
    left, right = wire
    with Sink(right, "eth0") as sink:
        rate = lossless_rate(left, "eth0", frame(), lambda: sink.packets)
        before = sink.packets
        with Generator(left, "eth0", frame(), rate=0.9 * rate) as generator:
            time.sleep(0.5)
            sent = generator.stop()
        assert sink.wait_for(before + sent) == before + sent
        assert rate > 1_000


def test_frames_that_never_arrive_are_no_rate(wire: tuple[Namespace, Namespace]) -> None:
    with Sink(wire[1], "eth0"), pytest.raises(RuntimeError, match="loses frames"):
        lossless_rate(wire[0], "eth0", frame(), lambda: 0, seconds=0.0005)


def test_a_sink_behind_xdp_counts_what_passes(wire: tuple[Namespace, Namespace]) -> None:
    left, right = wire
    with Sink(right, "eth0", Kind.GATE) as gate, Sink(right, "eth0", Kind.TC) as behind:
        with Generator(left, "eth0", frame(), rate=20_000) as generator:
            time.sleep(0.2)
            sent = generator.stop()
        assert behind.wait_for(sent) == gate.packets == sent
    assert "clsact" not in right.run("tc", "qdisc", "show", "dev", "eth0")


def test_a_process_of_its_own_sends_and_says_how_much(wire: tuple[Namespace, Namespace]) -> None:
    left, right = wire
    command = [sys.executable, "-m", "bench.traffic", "--netns", left.name, "--device", "eth0", "--packet", frame().hex()]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
    with Sink(right, "eth0") as sink:
        done = subprocess.run(
            [*command, "--rate", "5000", "--seconds", "0.4", "--vary", "34:2:1000:40"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(done.stdout)
        assert said["overruns"] == 0
        assert sink.wait_for(said["sent"]) == said["sent"] > 0


@pytest.mark.parametrize("packet", [b"", bytes(13), bytes(1521)])
def test_packets_that_cannot_be_sent_are_refused(wire: tuple[Namespace, Namespace], packet: bytes) -> None:
    with pytest.raises(ValueError, match="14 to 1520"):
        Generator(wire[0], "eth0", packet)


@pytest.mark.parametrize("variation", [Variation(59, 2, 9), Variation(0, 3, 9), Variation(0, 2, 0), Variation(0, 2, 9, (59,))])
def test_a_variation_outside_of_the_packet_is_refused(wire: tuple[Namespace, Namespace], variation: Variation) -> None:
    with pytest.raises(ValueError, match="variation"):
        Generator(wire[0], "eth0", frame(), variation=variation)


def test_a_device_that_is_not_there_is_refused(wire: tuple[Namespace, Namespace]) -> None:
    with pytest.raises((OSError, RuntimeError)):
        Generator(wire[0], "eth9", frame())


def test_a_lab_leaves_nothing_and_clears_what_a_killed_run_left() -> None:
    code = "from bench.lab import Lab; import os; print(Lab().namespace('left').name, flush=True); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    left_behind = Path("/run/netns", done.stdout.strip())
    assert left_behind.exists()
    with Lab() as lab:
        assert not left_behind.exists()
        made = lab.namespace("one")
        assert made.path.exists()
    assert not made.path.exists()


def test_a_silent_wire_stays_silent(wire: tuple[Namespace, Namespace]) -> None:
    _, right = wire
    with Sink(right, "eth0") as sink:
        time.sleep(0.5)
        assert sink.packets == 0


def test_being_within_a_namespace_ends_with_the_block(wire: tuple[Namespace, Namespace]) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with wire[0].entered(), wire[1].entered():
        assert os.readlink("/proc/thread-self/ns/net") != before
    with pytest.raises(RuntimeError, match="no Ethernet"), wire[0].entered():
        wire[0].mac("lo")
    assert os.readlink("/proc/thread-self/ns/net") == before
