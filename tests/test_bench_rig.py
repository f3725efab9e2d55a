"""What bench/ stands on: the rig runs every packet equally often, and the hand-written firewall does what it is said to do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from bench.rig import HEAD, measure, middle_mean
from bench.twin import XDP_DROP, XDP_PASS, Twin
from pcnc_runtime.programs import run_program

ETHERNET = bytes.fromhex("020000000002 020000000001 0800")


def frame(source: str, destination: str = "198.51.100.1", *, first: int = 0x45, total: int = 66, tail: bytes = bytes(46)) -> bytes:
    """An Ethernet frame with an IPv4 header (no checksum: neither program reads one)."""
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return ETHERNET + bytes([first, 0]) + total.to_bytes(2, "big") + bytes(8) + addresses + tail


@pytest.fixture
def twin() -> Iterator[Twin]:
    with Twin() as loaded:
        yield loaded


@pytest.mark.text
def test_the_middle_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert middle_mean([1000, 3, 4, 0]) == 3.5
    assert middle_mean([7]) == 7


@pytest.mark.text
@pytest.mark.parametrize("behind", [(b"", b"\0"), (b"\0", b"\1")], ids=["length", "content"])
def test_packets_that_differ_where_nothing_restores_them_are_refused(behind: tuple[bytes, bytes]) -> None:
    head = frame("10.0.0.1")
    assert len(head) == HEAD
    with pytest.raises(ValueError, match="80 bytes"):
        measure({}, [head + tail for tail in behind])


@pytest.mark.text
def test_no_packet_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="one length"):
        measure({}, [])


@pytest.mark.kernel
def test_each_packet_of_the_rotation_runs_equally_often(twin: Twin) -> None:
    twin.add_rules("sources", [IPv4Network("10.0.0.0/8")])
    packets = [frame("10.0.0.1"), frame("11.0.0.1"), frame("12.0.0.1"), frame("13.0.0.1"), frame("14.0.0.1")]
    figures = measure({"by_source": twin.program("by_source")}, packets, rounds=2)
    assert list(figures) == ["by_source"]
    dropped, passed = twin.counted(XDP_DROP), twin.counted(XDP_PASS)
    assert dropped > 0
    assert passed == 4 * dropped


@pytest.mark.kernel
def test_a_program_that_aborts_is_not_measured(twin: Twin) -> None:
    twin.add_rules("sources", [IPv4Network("10.0.0.0/8")], verdict=0)
    with pytest.raises(RuntimeError, match="by_source aborts"):
        measure({"by_source": twin.program("by_source")}, [frame("10.0.0.1")], rounds=1)


@pytest.mark.kernel
def test_the_twin_takes_the_longest_prefix_of_each_table(twin: Twin) -> None:
    twin.add_rules("sources", [IPv4Network("10.0.0.0/8")])
    twin.add_rules("sources", [IPv4Network("10.1.0.0/16")], XDP_PASS)
    twin.add_rules("destinations", [IPv4Network("192.0.2.128/25")])
    draw = random.Random(2020)
    for _ in range(500):
        source = f"10.{draw.randrange(3)}.0.1" if draw.random() < 0.8 else "11.0.0.1"
        destination = f"192.0.2.{draw.choice([0, 127, 128, 255])}"
        from_bad, to_bad = source.startswith("10.") and not source.startswith("10.1."), int(destination[8:]) >= 128
        verdicts = {"by_source": from_bad, "by_destination": to_bad, "by_both": from_bad or to_bad}
        for name, dropped in verdicts.items():
            run = run_program(twin.program(name), frame(source, destination))
            assert run.verdict == (XDP_DROP if dropped else XDP_PASS), (name, source, destination)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "packet",
    [
        frame("10.0.0.1", first=0x55),
        frame("10.0.0.1", first=0x44),
        frame("10.0.0.1", total=19),
        frame("10.0.0.1", first=0x4F, total=59),
        frame("10.0.0.1")[:33],
        frame("10.0.0.1", first=0x4F)[:73],
        frame("10.0.0.1").replace(b"\x08\x00", b"\x86\xdd", 1),
    ],
    ids=["version", "header length", "total length", "total below header", "cut header", "cut options", "type"],
)
def test_the_twin_reads_no_address_from_what_is_no_ipv4_header(twin: Twin, packet: bytes) -> None:
    twin.add_rules("sources", [IPv4Network("0.0.0.0/0")])
    assert run_program(twin.program("by_source"), packet).verdict == XDP_PASS
    assert run_program(twin.program("by_source"), frame("10.0.0.1")).verdict == XDP_DROP
