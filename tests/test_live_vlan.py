"""VLAN tags at TC, live: the kernel takes the outer tag out of the frame before a program sees it, and no rule may miss that."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, Namespace
from pcnc.checksums import internet_checksum
from pcnc.cli.compile_service import Chosen, build_service
from pcnc.compile import check
from pcnc.manifest import Hook
from pcnc.source import Source
from pcnc_runtime.operations import load, statistics, unload

pytestmark = pytest.mark.kernel

TAGS = """
service tags {
    chain ingress {
        stage sort {
            if vlan {
                if vlan.id == 7 { drop }
                if vlan.id == 8 { vlan.id = 9; vlan.priority = 5 }
                if vlan.inner and vlan.inner.id == 100 { vlan.inner.id = 101 }
                if ipv4 and ipv4.dst == 192.0.2.66 { drop }
            }
        }
    }
}
"""
PACKET_AUXDATA, SOL_PACKET, TP_STATUS_VLAN_VALID, ETH_P_ALL = 8, 263, 0x10, 3
DESTINATION = "020000000002"


def frame(*tags: tuple[int, int], destination: str = "c0000201") -> bytes:
    """An IPv4 frame with these tags, (EtherType, TCI) from the outermost."""
    head = bytes.fromhex(f"{DESTINATION}020000000001") + b"".join(struct.pack("!HH", *tag) for tag in tags)
    ip = bytes.fromhex(f"45000030000100004011 0000 0a000001 {destination}")
    # A bridge may hand frames to netfilter, which wants a right sum.
    ip = ip[:10] + internet_checksum(ip).to_bytes(2, "big") + ip[12:]
    return head + bytes.fromhex("0800") + ip + bytes.fromhex("04d20035001c0000") + bytes(20)


class Wire:
    """A port of a bridge with our programs on it, and a second port where what the bridge forwards can be seen."""

    def __init__(self, lab: Lab, hook: Hook) -> None:
        middle, left, right = lab.namespace("middle"), lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "l0", middle, "m0")
        lab.veth(right, "r0", middle, "m1")
        middle.run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        for device in ("m0", "m1"):
            middle.run("ip", "link", "set", device, "master", "br0")
        middle.run("ip", "link", "set", "br0", "up")
        self.middle = middle
        self.sender, self.receiver = _raw(left, "l0"), _raw(right, "r0")
        self.receiver.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.receiver.settimeout(1)
        program = check(Source("tags.pcn", TAGS)).program
        self.name = f"tags_{hook}"
        with middle.entered():
            load(build_service(Chosen(program, program.services[0]), hook), self.name, ["m0"])

    def send(self, sent: bytes) -> bytes | None:
        """The frame as it arrives on the other side, its tag put back; None where none does."""
        self.sender.send(sent)
        while True:
            try:
                data, auxiliary, _, address = self.receiver.recvmsg(2048, 256)
            except TimeoutError:
                return None
            if data[:6].hex() != DESTINATION or address[2] == socket.PACKET_OUTGOING:
                continue
            for level, kind, content in auxiliary:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, tci, protocol = struct.unpack("=I12xHH", content[:20])
                    if status & TP_STATUS_VLAN_VALID:
                        data = data[:12] + struct.pack("!HH", protocol, tci) + data[12:]
            return data

    def close(self) -> None:
        """Unloads, and closes the sockets."""
        self.sender.close()
        self.receiver.close()
        with self.middle.entered():
            unload(self.name)


def _raw(namespace: Namespace, device: str) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.bind((device, ETH_P_ALL))
        return made


@pytest.fixture(params=["xdp", "tc"])
def wire(request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Wire]:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    made = Wire(lab, request.param)
    yield made
    made.close()


def test_tags_are_read_and_written_wherever_the_kernel_keeps_them(wire: Wire) -> None:
    assert wire.send(frame()) == frame()
    assert wire.send(frame((0x8100, 6))) == frame((0x8100, 6))
    assert wire.send(frame((0x8100, 8))) == frame((0x8100, 5 << 13 | 9))
    assert wire.send(frame((0x8100, 1 << 12 | 8))) == frame((0x8100, 5 << 13 | 1 << 12 | 9))
    assert wire.send(frame((0x88A8, 8), (0x8100, 100))) == frame((0x88A8, 5 << 13 | 9), (0x8100, 101))
    assert wire.send(frame((0x8100, 6), (0x8100, 100))) == frame((0x8100, 6), (0x8100, 101))


def test_no_tag_hides_a_frame_from_a_rule(wire: Wire) -> None:
    for tags in (((0x8100, 7),), ((0x88A8, 7), (0x8100, 1))):
        assert wire.send(frame(*tags)) is None
    for tags in (((0x8100, 1),), ((0x8100, 1), (0x8100, 2))):
        assert wire.send(frame(*tags, destination="c0000242")) is None
    chain = statistics(wire.name).chains[0]
    assert dict(chain.reasons)["drop: stage sort"] == 4
