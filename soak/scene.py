"""A gate between two namespaces, traffic through it both ways, and what it did to every packet.

Each version of the gate writes its number into a packet twice, in the first block and in the last, and a rule writes a third
number; so a packet tells which version it met, or that it met a mixture, or none. Half of the packets are such as every version
drops. Counting is done in the kernel, behind the gate: nothing is missed however fast packets come.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.lab import Lab, Namespace
from pcnc_runtime.build import compile_source
from pcnc_runtime.objects import ObjectFile

_SOURCE = Path(__file__).with_name("seen.bpf.c")
_CELLS, _ODD = 256, 255  # seen.bpf.c says the same
_SO_ATTACH_BPF = 50
_ETH_P_IP = 0x0800
_BURST, _PAUSE = 8, 0.002

GATE = """
service gate {
    config lowest: u8 = 0
    table sources {
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    1k
        count   packets, bytes
    }
    rules sources { 10.0.0.0/8 -> drop }
    table marks {
        match   ipv4.proto: exact
        action  mark, next
        default next
        size    16
        count   packets
    }
    meta written: u16
    action mark(value: u16) { written = value }
    chain ingress {
        stage guardTAG {
            if ipv4 and ipv4.ttl < lowest { drop }
        }
        stage first {
            if ipv4 { ipv4.dscp = VERSION }
        }
        sources
        marks
        stage last {
            if ipv4 {
                ipv4.id = written
                ipv4.ttl = VERSION
            }
        }
    }
EGRESS}
"""
_EGRESS = """    table departsTAG {
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    64
        count   packets
    }
    rules departsTAG { 10.0.0.0/8 -> drop }
    chain egress {
        stage leavingTAG {
            if ipv4 { ipv4.dscp = VERSION }
        }
        departsTAG
        stage leftTAG {
            if ipv4 { ipv4.ttl = VERSION }
        }
    }
"""


def gate(version: int, *, egress: bool = True, tag: str = "") -> str:
    """The text of a version of the gate, 1 to 3; without the chain egress if so wished. `tag` ends the names `OWN_NAMES`."""
    return GATE.replace("EGRESS", _EGRESS if egress else "").replace("VERSION", str(version)).replace("TAG", tag)


OWN_NAMES = ("guard", "departs", "leaving", "left")
"""Of stages and tables, and so of blocks and maps in the kernel."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a packet looks like behind the gate: the number in its first field, in its last, and that of the rule."""

    first: int
    last: int
    mark: int

    @property
    def cell(self) -> int:
        """Where it is counted."""
        return self.first << 4 | self.last << 2 | self.mark


OPEN = Look(0, 0, 0)
"""No gate at all: packets that every version drops get by, too."""


@dataclass(frozen=True, slots=True)
class Both:
    """The looks of packets that come in and that go out."""

    ingress: Look
    egress: Look


def version(number: int, mark: int = 1, *, egress: bool = True) -> Both:
    """What a version of the gate does, with the rule that writes `mark`."""
    return Both(Look(number, number, mark), Look(number, number, 0) if egress else OPEN)


UNLOADED = Both(OPEN, OPEN)


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of one direction: packets sent that every version lets by, and what arrived, by cell."""

    sent: int
    cells: tuple[int, ...]

    def since(self, before: Counted) -> Counted:
        """What was added."""
        return Counted(self.sent - before.sent, tuple(now - then for now, then in zip(self.cells, before.cells, strict=True)))

    @property
    def arrived(self) -> int:
        """Packets that every version lets by."""
        return sum(count for cell, count in enumerate(self.cells) if not cell & 64 or cell == _ODD)

    def wrong(self, *allowed: Look) -> list[str]:
        """What arrived and looks like none of these."""
        fine = {look.cell for look in allowed} | ({64} if OPEN in allowed else set())
        return [f"{count} {_in_words(cell)}" for cell, count in enumerate(self.cells) if count and cell not in fine]

    def looks(self, look: Look) -> bool:
        """Whether anything looks like this."""
        return self.cells[look.cell] > 0


def _in_words(cell: int) -> str:
    if cell == _ODD:
        return "with numbers that no version writes"
    first, last, mark = cell >> 4 & 3, cell >> 2 & 3, cell & 3
    words = f"that met first block {first}, last block {last}, rule {mark}"
    return f"{words}, though every version drops them" if cell & 64 else words


class Observer:
    """Counts what a socket would receive."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver
        self._object = ObjectFile(compile_source(_SOURCE.read_text(), name="seen"), "seen")
        self._object.load()
        fd = self._object.program_fd("seen")
        receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, fd)
        with self._object.take_map("cells") as cells:
            self._memory = mmap.mmap(cells.fd, _CELLS * 8, mmap.MAP_SHARED, mmap.PROT_READ)

    def cells(self) -> tuple[int, ...]:
        """Every count."""
        return struct.unpack(f"={_CELLS}Q", self._memory[:])

    def close(self) -> None:
        """Counts no more."""
        self._memory.close()
        self._object.close()
        self._receiver.close()


def datagram(source: str, destination: str, destination_mac: str) -> bytes:
    """A frame with a datagram to port 7; IPv4 id 0, DSCP 0, TTL 64."""
    import dpkt

    data = dpkt.udp.UDP(sport=9, dport=7, data=bytes(20), ulen=28)
    addresses = {"src": socket.inet_aton(source), "dst": socket.inet_aton(destination)}
    packet = dpkt.ip.IP(**addresses, p=17, ttl=64, data=data, len=48, id=0)
    macs = {"src": bytes.fromhex("020000000009"), "dst": bytes.fromhex(destination_mac.replace(":", ""))}
    return bytes(dpkt.ethernet.Ethernet(**macs, type=_ETH_P_IP, data=packet))


_GATE_MAC, _PEER_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"


class Scene:
    """Two namespaces on a wire; on `gated`'s eth0 sits the gate. Traffic flows both ways from `start` to `pause`."""

    def __init__(self, lab: Lab) -> None:
        self.peer, self.gated = lab.namespace("peer"), lab.namespace("gated")
        lab.veth(self.peer, "eth0", self.gated, "eth0")
        for namespace, mac in ((self.peer, _PEER_MAC), (self.gated, _GATE_MAC)):
            namespace.run("ip", "link", "set", "eth0", "address", mac)
        self.gated.run("ip", "route", "add", "local", "192.0.2.0/24", "dev", "lo")
        for device in ("all", "eth0"):
            self.gated.set(f"net/ipv4/conf/{device}/rp_filter", 0)
        self._senders = [_sender(self.peer), _sender(self.gated)]
        self._frames = [
            [datagram(f"{net}.16.0.1", "192.0.2.2", _GATE_MAC) for net in ("172", "10")],
            [datagram(f"{net}.16.0.1", "198.51.100.2", _PEER_MAC) for net in ("172", "10")],
        ]
        with self.gated.entered():
            behind = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        with self.peer.entered():
            outside = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
            outside.bind(("eth0", _ETH_P_IP))
        self._observers = [Observer(behind), Observer(outside)]
        self._probes = [0, 0]
        # Whether to send, whether it is sending, and how many were sent each way.
        self._shared = mmap.mmap(-1, 4096)
        self._child = os.fork()
        if self._child == 0:
            self._send_until_told()

    # ---- traffic

    def _send_until_told(self) -> None:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            sent = [0, 0]
            while True:
                going = self._shared[0] == 1
                for way in (0, 1) if going else ():
                    for _ in range(_BURST):
                        sent[way] += self._send(way)
                self._shared[8:24] = struct.pack("=2Q", *sent)
                self._shared[1] = going
                time.sleep(_PAUSE if going else _PAUSE / 4)
        finally:
            os._exit(1)

    def _send(self, way: int) -> int:
        allowed, dropped = self._frames[way]
        self._senders[way].send(allowed)
        with suppress(OSError):  # what TC drops on its way out is told to who sends it
            self._senders[way].send(dropped)
        return 1

    def start(self) -> None:
        """Lets traffic flow."""
        self._shared[0] = 1
        while not self._shared[1]:
            time.sleep(0.0002)

    def pause(self) -> None:
        """Ends traffic, and waits until what is on the wire has arrived."""
        self._shared[0] = 0
        while self._shared[1]:
            time.sleep(0.0002)
        before: tuple[Counted, ...] = ()
        while (now := self.count()) != before:
            before = now
            time.sleep(0.003)

    def probe(self, times: int = 1) -> None:
        """Sends a few packets both ways, now."""
        for way in (0, 1):
            for _ in range(times):
                self._probes[way] += self._send(way)

    def count(self) -> tuple[Counted, Counted]:
        """All counts: of what comes in, and of what goes out."""
        sent = struct.unpack("=2Q", self._shared[8:24])
        ingress, egress = (Counted(sent[way] + self._probes[way], observer.cells()) for way, observer in enumerate(self._observers))
        return ingress, egress

    def looks(self, candidates: Sequence[Both]) -> tuple[str, list[str]]:
        """What the gate does now, traffic being paused: which of the candidates ("0", "1"; "0/1" where the ways differ); faults."""
        before = self.count()
        self.probe(4)
        deadline = time.monotonic() + 1
        while True:
            now = [after.since(then) for after, then in zip(self.count(), before, strict=True)]
            if all(each.arrived >= each.sent for each in now) or time.monotonic() > deadline:
                break
            time.sleep(0.002)
        found, faults = [], []
        for way, counted in zip(("ingress", "egress"), now, strict=True):
            hits = [str(index) for index, each in enumerate(candidates) if counted.looks(getattr(each, way))]
            fitting = [index for index in hits if not counted.wrong(getattr(candidates[int(index)], way))]
            if counted.arrived < counted.sent or not fitting:
                faults.append(f"{way}: {counted.arrived} of {counted.sent} arrived; {', '.join(counted.wrong()) or 'none'}")
            found.append(set(fitting))
        if common := found[0] & found[1]:
            return min(common), faults
        return "/".join(min(each, default="none") for each in found), faults

    def close(self) -> None:
        """Ends traffic and lets go of everything but the namespaces."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        for observer in self._observers:
            observer.close()
        for sender in self._senders:
            sender.close()
        self._shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def leftovers(self) -> list[str]:
        """Programs and qdiscs on the gated device, as `ip` and `tc` show them."""
        found = []
        if "xdp" in (link := self.gated.run("ip", "-d", "link", "show", "dev", "eth0")):
            found.append(f"on the device: {link.split('xdp', 1)[1].split()[0:3]}")
        if "clsact" in (qdiscs := self.gated.run("tc", "qdisc", "show", "dev", "eth0")):
            filters = [self.gated.run("tc", "filter", "show", "dev", "eth0", way) for way in ("ingress", "egress")]
            found.append(f"{qdiscs.strip()}{''.join(filters)}")
        return found


def _sender(namespace: Namespace) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.bind(("eth0", 0))
    return made
