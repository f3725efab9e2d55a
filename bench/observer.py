"""Looks at every frame behind the verdict, in the kernel: by which version it was treated, when versions changed, what is missing.

    with Observer(right, "eth0", versions=(first, second)) as observer, Generator(left, "eth0", *flows(8), number=NUMBER_OFFSET):
        time.sleep(1)
        print(observer.read())

Versions tell themselves by the marks that their blocks leave in the source address of the Ethernet header (`bench.stamping`).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.lab import Namespace
from bench.packets import datagram
from pcnc_runtime.attach import Direction, attach_tc, detach_tc
from pcnc_runtime.build import compile_source
from pcnc_runtime.objects import ObjectFile

_SOURCE = Path(__file__).with_name("observer.bpf.c")

MOST_FLOWS = 16
_REMEMBERED = 1024
_CHANGES = 65536
_PAYLOAD = 42
NUMBER_OFFSET = _PAYLOAD + 8
"""Where the frames of `flows` have room for `Generator`'s number."""

_FLOW = struct.Struct(f"=6Q{8 * _REMEMBERED}x")
_CHANGE = struct.Struct("=3Q")
_NOW = struct.Struct("=4Q")


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow's frames: how many came that the first or the second version treated, or both (`mixed`).

    `next` is one more than the highest number seen. Those that came a second time are `duplicated` and nowhere else; `reordered`
    ones came after one with a higher number.
    """

    first: int
    second: int
    mixed: int
    next: int
    duplicated: int
    reordered: int

    @property
    def arrived(self) -> int:
        """Different frames."""
        return self.first + self.second + self.mixed


@dataclass(frozen=True, slots=True)
class Marked:
    """Frames began to come with these marks at `first`; the last one with other marks came at `last`. Seconds, monotonic."""

    marks: int
    last: float
    first: float


@dataclass(frozen=True, slots=True)
class Observed:
    """All that arrived, so far. `foreign` frames are none of `flows`; `changes` is how often marks were not those before."""

    flows: tuple[Flow, ...]
    foreign: int
    changes: int

    def total(self, what: str) -> int:
        """A figure of all flows."""
        return sum(getattr(flow, what) for flow in self.flows)


def flows(count: int) -> list[bytes]:
    """A datagram of each of so many flows, one packet of a generator each. They differ in their source port and first payload."""
    made = []
    for number in range(count):
        frame = bytearray(datagram(0x0A000001 + number, 0xC0000201))
        frame[6:12] = bytes(6)
        frame[34:36] = (1024 + number).to_bytes(2, "big")
        frame[_PAYLOAD:NUMBER_OFFSET] = struct.pack("=Q", number)
        made.append(bytes(frame))
    return made


class Observer:
    """Takes every frame that reaches TC's ingress on a device, from when it is made until `close`."""

    def __init__(self, namespace: Namespace, device: str, versions: tuple[int, int]) -> None:
        self._namespace, self._device = namespace, device
        self._object = ObjectFile(compile_source(_SOURCE.read_text(), name="observer"), "observer")
        try:
            self._object.set_value(".rodata.setup", struct.pack("=2Q", *versions))
            self._object.load()
            self._flows, self._now = self._object.take_map("flows"), self._object.take_map("current")
            self._changes = self._object.take_map("changes")
            with namespace.entered():
                self._added_qdisc = attach_tc(device, Direction.INGRESS, self._fd, name="observer")
        except BaseException:
            self._object.close()
            raise

    @property
    def _fd(self) -> int:
        return self._object.program_fd("observe")

    def read(self) -> Observed:
        """What came."""
        _, _, changes, foreign = self._read_now()
        flows = tuple(Flow(*_FLOW.unpack(value)) for _, value in self._flows.items())
        return Observed(flows, foreign, changes)

    def forget(self) -> None:
        """Begins anew with flows whose numbers do. Nothing may be under way."""
        for number in range(MOST_FLOWS):
            self._flows.update(number, bytes(_FLOW.size))

    def _read_now(self) -> Sequence[int]:
        value = self._now.lookup(0)
        assert value is not None, "an array has all its entries"
        return _NOW.unpack(value)

    @property
    def arrived(self) -> int:
        """How many different frames of all flows came."""
        return self.read().total("arrived")

    @property
    def marks(self) -> int:
        """Those of the latest frame."""
        return self._read_now()[0]

    @property
    def changes(self) -> int:
        """How often marks were not those of the frame before."""
        return self._read_now()[2]

    def changed(self, since: int = 0) -> list[Marked]:
        """When marks changed, from the change with the number `since` on. RuntimeError where the kernel has forgotten some."""
        count = self.changes
        if count - since > _CHANGES:
            raise RuntimeError(f"marks changed {count - since:,} times, and {_CHANGES:,} are kept")
        found = []
        for number in range(since, count):
            value = self._changes.lookup(number % _CHANGES)
            assert value is not None, "an array has all its entries"
            marks, last, first = _CHANGE.unpack(value)
            found.append(Marked(marks, last / 1e9, first / 1e9))
        return found

    def wait_for(self, packets: int, seconds: float = 2.0) -> int:
        """Waits until so many have arrived, or nothing came for a tenth of a second; returns how many it were."""
        deadline, before = time.monotonic() + seconds, -1
        while (now := self.arrived) < packets and time.monotonic() < deadline and now != before:
            before = now
            time.sleep(0.1)
        return self.arrived

    def close(self) -> None:
        """Takes it off the device."""
        with self._namespace.entered():
            detach_tc(self._device, Direction.INGRESS, self._fd, remove_qdisc=self._added_qdisc)
        for each in (self._flows, self._now, self._changes):
            each.close()
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
