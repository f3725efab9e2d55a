"""Services that tests load for real: compiled from text, on a wire of their own, and looked for everywhere once they are gone."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import dpkt

from bench.lab import Lab, Namespace
from bench.traffic import Sink
from pcnc.cli.compile_service import Chosen, build_service, choose_service, record_of
from pcnc.compile import check
from pcnc.manifest import Hook
from pcnc.rules import Interval, MaskedValue, Rule
from pcnc.source import Source
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.facts import ChainStatistics
from pcnc_runtime.libbpf import library
from pcnc_runtime.operations import describe, load, statistics, unload
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import open_program_by_id
from pcnc_runtime.state import Place, place_of

_numbers = itertools.count()

FIREWALL = """
service firewall {
    table sources {
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    1k
        count   packets, bytes
    }
    table destinations {
        match   ipv4.dst: lpm
        action  drop, next
        default next
        size    1k
        count   packets
    }
    chain ingress { sources; destinations }
}
"""
"""Two tables that count; without rules the blocks are defaults."""


def with_rules(text: str, table: str, *rules: str) -> str:
    """A service with rules in the file."""
    at = text.rindex("}")
    return f"{text[:at]}    rules {table} {{\n{''.join(f'        {rule}{chr(10)}' for rule in rules)}    }}\n}}\n"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A bundle and the source it was made from."""

    bundle: Bundle
    source: SourceRecord


@cache
def compiled(text: str, hook: Hook = "xdp") -> Compiled:
    """Compiles a service of one text."""
    program = check(Source("service.pcn", text)).program
    chosen = Chosen(program, choose_service(program, None))
    return Compiled(build_service(chosen, hook), record_of(chosen, hook))


def new_name() -> str:
    """A name that no other test has."""
    return f"t{os.getpid()}_{next(_numbers)}"


@contextmanager
def loaded(wire: Wire, text: str, hook: Hook = "xdp", **options: object) -> Iterator[str]:
    """A service on the right end of a wire, gone afterwards; its name."""
    made, name = compiled(text, hook), new_name()
    with wire.right.entered():
        load(made.bundle, name, ["eth0"], source=made.source, **options)  # type: ignore[arg-type]  # what `load` takes
    try:
        yield name
    finally:
        with suppress(RuntimeProblem):
            unload(name)


def prefix(text: str, action: str = "drop") -> Rule:
    """The rule `10.0.0.0/8 -> drop` of a table with one lpm column."""
    address, _, length = text.partition("/")
    value = int.from_bytes(socket.inet_aton(address))
    return Rule((MaskedValue(value, (1 << 32) - (1 << 32 - int(length or 32))),), action)


def ports(low: int, high: int, action: str = "drop") -> Rule:
    """The rule `80..90 -> drop` of a table with one range column."""
    return Rule((Interval(low, high),), action)


RIGHT_MAC = "02:00:00:00:00:02"


def udp(source: str = "10.0.0.1", destination: str = "192.0.2.2", dport: int = 7, size: int = 20, sport: int = 9) -> bytes:
    """A datagram with right checksums."""
    data = dpkt.udp.UDP(sport=sport, dport=dport, data=bytes(size), ulen=8 + size)
    addresses = {"src": socket.inet_aton(source), "dst": socket.inet_aton(destination)}
    packet = dpkt.ip.IP(**addresses, p=17, ttl=64, data=data, len=28 + size)
    return bytes(
        dpkt.ethernet.Ethernet(src=b"\2\0\0\0\0\1", dst=bytes.fromhex(RIGHT_MAC.replace(":", "")), type=0x0800, data=packet)
    )


class Wire:
    """Two namespaces joined by a veth pair: what is sent on the left arrives on the right, where services sit.

    Behind the service on the right, IPv4 takes whatever goes to 192.0.2.0/24, from wherever it says to come.
    """

    def __init__(self, lab: Lab) -> None:
        self.left, self.right = lab.namespace("left"), lab.namespace("right")
        lab.veth(self.left, "eth0", self.right, "eth0")
        self.right.run("ip", "link", "set", "eth0", "address", RIGHT_MAC)
        self.right.run("ip", "route", "add", "local", "192.0.2.0/24", "dev", "lo")
        for device in ("all", "eth0"):
            self.right.set(f"net/ipv4/conf/{device}/rp_filter", 0)
        self._left, self._right = _packet_socket(self.left, "eth0"), _packet_socket(self.right, "eth0")
        with self.right.entered():
            self._behind = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the sockets, which keep the namespaces."""
        for each in (self._left, self._right, self._behind):
            each.close()

    def send(self, packet: bytes, times: int = 1) -> None:
        """Sends a frame from left to right."""
        for _ in range(times):
            self._left.send(packet)

    def passes(self, packet: bytes, herald: bytes | None = None) -> bool:
        """Whether a datagram that is sent on the left gets behind the service on the right.

        `herald` is one that does, and follows it: when that is there and the other is not, it need not be waited for.
        """
        return _arrives(packet, self._left, self._behind, 14, herald)

    def leaves(self, packet: bytes, herald: bytes | None = None) -> bool:
        """Whether a frame that is sent on the right gets by the service there to the left."""
        return _arrives(packet, self._right, self._left, 0, herald)


def _packet_socket(namespace: Namespace, device: str) -> socket.socket:
    with namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind((device, 0))
    return made


def _arrives(packet: bytes, sender: socket.socket, receiver: socket.socket, skipped: int, herald: bytes | None) -> bool:
    """A frame has arrived when `send` returns, or never will; a slow machine gets three tries."""
    receiver.setblocking(False)
    with suppress(BlockingIOError):
        while receiver.recv(2048):
            pass
    receiver.settimeout(0.1)
    for _ in range(3):
        for frame in (packet, herald):
            try:
                if frame is not None:
                    sender.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # what TC drops on its way out
                    raise
        with suppress(TimeoutError):
            while True:
                got = receiver.recv(2048)
                if got == packet[skipped:]:
                    return True
                if herald is not None and got == herald[skipped:]:
                    return False
    return False


# ---- counts


def chain(name: str, which: str = "ingress") -> ChainStatistics:
    """The counts of a chain now."""
    return next(chain for chain in statistics(name).chains if chain.chain == which)


def reason(name: str, wanted: str, which: str = "ingress") -> int:
    """How many packets ended for a reason."""
    return dict(chain(name, which).reasons).get(wanted, 0)


def assert_each_counted_once(name: str, table: str, behind: Sink, before: int, sent: int) -> None:
    """Through all versions each packet is counted once by the chain and once by the table, and arrives where it was let on.

    `before` are those counted before the `sent` ones; none of them arrived at the sink `behind`.
    """
    counted = dict(chain(name).reasons)
    assert chain(name).packets == before + sent
    assert behind.wait_for(counted["next"] - before) == counted["next"] - before
    assert counted["drop: tail call"] == counted["drop: internal"] == counted["drop: no generation"] == 0
    found = statistics(name).table(table)
    assert found is not None
    assert sum(count.packets for _, count in found.rules) + found.default.packets == before + sent


# ---- what is left


@dataclass(frozen=True, slots=True)
class Traces:
    """What a loaded service has in the kernel and on the disk."""

    place: Place
    programs: frozenset[int]
    maps: frozenset[int]

    def remaining(self) -> list[str]:
        """What of it is still there; the kernel frees with a delay."""
        deadline = time.monotonic() + 60
        while (found := self._look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _look(self) -> list[str]:
        found = [
            str(path) for path in (self.place.pins, self.place.folder, self.place.folder.with_suffix(".lock")) if path.exists()
        ]
        # Nothing may be opened by its id here: that is a reference, and a PROG_ARRAY that is let go twice is never freed.
        found += [f"program {id}" for id in self.programs & ids_in_kernel("bpf_prog_get_next_id")]
        return found + [f"map {id}" for id in self.maps & ids_in_kernel("bpf_map_get_next_id")]


def ids_in_kernel(walk: str) -> set[int]:
    """The ids of all programs or maps, none of which is opened."""
    found: set[int] = set()
    id = ctypes.c_uint32(0)
    while getattr(library(), walk)(id, ctypes.byref(id)) == 0:
        found.add(id.value)
    return found


def traces(name: str) -> Traces:
    """Every program in a slot or on a device, every map pinned or used by one of these."""
    place = place_of(name)
    programs: set[int] = {at.entry_program_id for at in describe(name).chains}
    maps: set[int] = set()
    state = place.read()
    assert state is not None
    programs.update(at.program_id for at in state.attachments)
    for path in place.pins.rglob("*"):
        if path.is_dir() or path.name.startswith("program_"):
            continue
        with open_map(path) as made:
            maps.add(made.facts.id)
            if path.name.startswith(("blocks_", "bypass_", "entry_")):
                programs.update(id for id in made.slots() if id is not None)
    for id in programs:
        with open_program_by_id(id) as program:
            maps.update(program.facts.map_ids)
    return Traces(place, frozenset(programs), frozenset(maps))


def open_files() -> int:
    """How many descriptors of BPF objects this process holds."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += "bpf" in os.readlink(entry)
    return found
