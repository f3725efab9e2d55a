"""Millions of packets a second out of a device, and counting what arrives: both inside the kernel, without pktgen.

BPF_PROG_TEST_RUN with live frames runs an XDP program on copies of a packet; the program varies a word of it, if asked, and
redirects the frame out of a device. Over veth one thread sends about 7 million a second to a peer that has an XDP program.

    with Sink(server, "eth0") as sink, Generator(client, "eth0", packet, rate=1_000_000) as generator:
        time.sleep(1)
        sent = generator.stop()
        lost = sent - sink.wait_for(sent)

`python -m bench.traffic --help` does the same from a process of its own, whose interpreter shares nothing with what is measured.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from bench.cpus import go_first
from bench.lab import Namespace, enter
from pcnc_runtime.attach import Direction, XdpMode, attach_tc, attach_xdp, detach_tc, detach_xdp
from pcnc_runtime.build import compile_source
from pcnc_runtime.libbpf import TestRunOptions, checked, library
from pcnc_runtime.objects import ObjectFile

_SOURCE = Path(__file__).with_name("traffic.bpf.c")
_LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
_BATCH = 64  # frames that go to the device at once: a quarter of veth's ring
_RUNS = 1 << 23
"""Frames a call, sent or not yet due: half a second or so, since each call waits some 15 ms for the kernel's sake."""

BURST = 16
"""Frames that follow each other at once after a pause, where nothing else is asked for."""

CATCH_UP = 1 << 20
"""A burst that makes up for whatever held the generator up for a moment, so that it keeps its rate."""

_SHORTEST, _LONGEST = 14, 1520
_PACKET = struct.Struct(f"=QII{_LONGEST}s")  # struct packet of traffic.bpf.c


@dataclass(frozen=True, slots=True)
class Variation:
    """A word that differs from frame to frame: the packet's own value plus a random number below `count`.

    `offset` and `width` (2 or 4) in bytes; network byte order. The checksums at the offsets `checksums` (at most two) follow.
    """

    offset: int
    width: int
    count: int
    checksums: tuple[int, ...] = ()

    def check(self, packet: bytes) -> None:
        """ValueError unless it can be applied to a packet."""
        if self.width not in (2, 4) or not 0 < self.count < 1 << 32 or len(self.checksums) > 2:
            raise ValueError("a variation is 2 or 4 bytes wide, has 1 to 2**32 - 1 values and at most two checksums")
        if max(self.offset + self.width, *(offset + 2 for offset in (0, *self.checksums))) > len(packet):
            raise ValueError("a variation lies within the packet")


class Generator:
    """Sends packets out of a device, from a thread, between `start` and `stop`; a context manager does both.

    The packets (14 to 1520 bytes each) take turns. `rate` is a number a second, None for as many as go; the thread keeps a CPU
    busy in either case, and about every half second there is a pause of 15 ms. What a pause cost is made up for by `burst` frames
    at once, at most. `cpu` says which; over veth the receiver runs there, too, and `urgent` lets nobody else run there as long as
    there is something to send. `number` is where in each frame stands how many of its packet went before: 8 bytes, host order.
    ValueError for packets that cannot be sent; OSError and RuntimeProblem where the kernel refuses.
    """

    def __init__(
        self,
        namespace: Namespace,
        device: str,
        *packets: bytes,
        variation: Variation | None = None,
        rate: float | None = None,
        cpu: int | None = None,
        burst: int = BURST,
        number: int | None = None,
        urgent: bool = False,
    ) -> None:
        if not packets or not all(_SHORTEST <= len(packet) <= _LONGEST for packet in packets):
            raise ValueError(f"a packet has {_SHORTEST} to {_LONGEST} bytes")
        if number is not None and not 0 < number <= min(len(packet) for packet in packets) - 8:
            raise ValueError("a number has 8 bytes, and lies within every packet, not at its first byte")
        self._namespace, self._device, self._cpu, self._urgent = namespace, device, cpu, urgent
        self._number, self._burst = number or 0, burst
        self._longest = max(packets, key=len)
        self._stopping = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._object = _opened()
        try:
            self._load(packets, variation)
            self.set_rate(rate)
            self._errors_before = self._transmit_errors()
        except BaseException:
            self._object.close()
            raise

    def _load(self, packets: Sequence[bytes], variation: Variation | None) -> None:
        settings = [len(packets), 0, 0, 0, 0, 0, self._number, self._burst]
        if variation is not None:
            for packet in packets:
                variation.check(packet)
            sums = (*variation.checksums, 0, 0)
            settings[1:6] = [variation.offset, variation.width, variation.count, sums[0], sums[1]]
        self._object.set_value(".rodata.setup", struct.pack("=8I", *settings))
        self._object.resize_map("packets", len(packets))
        self._object.load_only(["generate"])
        self._object.load()
        self._packets, self._pace = self._object.take_map("packets"), self._object.take_map("pace")
        for index, packet in enumerate(packets):
            self._packets.update(index, _PACKET.pack(0, len(packet), 0, packet))
        with self._namespace.entered(), self._object.take_map("device") as target:
            target.update(0, self._namespace.index(self._device).to_bytes(4, sys.byteorder))

    def set_rate(self, rate: float | None) -> None:
        """Frames a second from now on, None for as many as go. ValueError unless it is above 0."""
        if rate is not None and rate <= 0:
            raise ValueError("a rate is above 0")
        self._set_pace(0 if rate is None else max(1, round(1024e9 / rate)), stopped=False)

    def _set_pace(self, interval: int, *, stopped: bool) -> None:
        self._pace.update(0, struct.pack("=QQ", interval, stopped))

    @property
    def sent(self) -> int:
        """Frames given to the device so far."""
        return sum(self.sent_each)

    @property
    def sent_each(self) -> tuple[int, ...]:
        """The same, packet by packet."""
        return tuple(_PACKET.unpack(value)[0] for _, value in self._packets.items())

    @property
    def overruns(self) -> int:
        """How many of those the device refused, because its peer's ring was full: losses of the generator's own."""
        return self._transmit_errors() - self._errors_before

    def _transmit_errors(self) -> int:
        words = self._namespace.run("ethtool", "-S", self._device)
        return sum(int(line.rpartition(":")[2]) for line in words.splitlines() if "xdp_xmit_errors" in line)

    def start(self) -> Self:
        """Begins to send, once."""
        self._thread.start()
        return self

    def stop(self) -> int:
        """Ends it and returns how many frames were given to the device. OSError if the kernel refused to go on."""
        self._stopping.set()
        self._set_pace(0, stopped=True)
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.sent

    def close(self) -> None:
        """Ends it and gives back what it holds in the kernel; nothing can be asked of it afterwards."""
        try:
            self.stop()
        finally:
            self._packets.close()
            self._pace.close()
            self._object.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        # A signal would end a call early: let other threads take them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            enter(self._namespace.path)
            if self._cpu is not None:
                os.sched_setaffinity(0, {self._cpu})
            if self._urgent:
                go_first()
            fd = self._object.program_fd("generate")
            while not self._stopping.is_set():
                _run_frames(fd, self._longest, _RUNS)
        except OSError as error:
            self._failure = error


def _opened() -> ObjectFile:
    return ObjectFile(compile_source(_SOURCE.read_text(), name="traffic"), "traffic")


def _run_frames(fd: int, packet: bytes, count: int) -> None:
    options = TestRunOptions(
        sz=ctypes.sizeof(TestRunOptions),
        data_in=ctypes.cast(ctypes.c_char_p(packet), ctypes.c_void_p),
        data_size_in=len(packet),
        repeat=count,
        flags=_LIVE_FRAMES,
        batch_size=_BATCH,
    )
    checked(library().bpf_prog_test_run_opts(fd, ctypes.byref(options)))


class Kind(Enum):
    """What a sink does with what it counts: drops it in XDP, drops it at TC (behind XDP), or lets it by.

    A veth device takes a generator's frames only where it carries an XDP program (the one under test, say) or has GRO on.
    """

    XDP = "sink"
    TC = "sink_tc"
    GATE = "gate"


class Sink:
    """Counts what arrives at a device, from when it is made until `close`."""

    def __init__(self, namespace: Namespace, device: str, kind: Kind = Kind.XDP, mode: XdpMode | None = None) -> None:
        self._namespace, self._device, self._kind = namespace, device, kind
        self._added_qdisc = False
        self._object = _opened()
        try:
            self._object.load_only([kind.value])
            self._object.load()
            self._seen = self._object.take_map("seen")
            with namespace.entered():
                if kind is Kind.TC:
                    self._added_qdisc = attach_tc(device, Direction.INGRESS, self._fd, name="sink")
                else:
                    attach_xdp(device, self._fd, mode)
        except BaseException:
            self._object.close()
            raise

    @property
    def _fd(self) -> int:
        return self._object.program_fd(self._kind.value)

    @property
    def packets(self) -> int:
        """How many frames arrived."""
        return self._count(0)

    @property
    def bytes(self) -> int:
        """How many bytes they had."""
        return self._count(1)

    def _count(self, index: int) -> int:
        words = self._seen.sum_per_cpu(index)
        return words[0] if words else 0

    def wait_for(self, packets: int, seconds: float = 2.0) -> int:
        """Waits until as many have arrived, or nothing came for a tenth of a second; returns how many it were."""
        deadline, before = time.monotonic() + seconds, -1
        while (now := self.packets) < packets and time.monotonic() < deadline and now != before:
            before = now
            time.sleep(0.1)
        return self.packets

    def close(self) -> None:
        """Takes it off the device."""
        with self._namespace.entered():
            if self._kind is Kind.TC:
                detach_tc(self._device, Direction.INGRESS, self._fd, remove_qdisc=self._added_qdisc)
            else:
                detach_xdp(self._device, self._fd)
        self._seen.close()
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lossless_rate(
    namespace: Namespace,
    device: str,
    packet: bytes,
    arrived: Callable[[], int],
    *,
    variation: Variation | None = None,
    cpu: int | None = None,
    urgent: bool = False,
    seconds: float = 0.5,
) -> float:
    """The highest rate, in steps of a tenth, at which as many frames arrive as were sent. Losses are measured at 90 % of it.

    `arrived` is a count that rises by one with every frame that makes it. RuntimeError where not even 1,000 a second do.
    """
    rate: float | None = None
    while rate is None or rate > 1_000:
        before = arrived()
        with Generator(namespace, device, packet, variation=variation, rate=rate, cpu=cpu, urgent=urgent) as generator:
            began = time.perf_counter()
            time.sleep(seconds)
            took = time.perf_counter() - began
            sent = generator.stop()
        time.sleep(0.1)
        if sent and arrived() - before == sent:
            return sent / took
        rate = 0.9 * (sent / took)
    raise RuntimeError(f"{device} loses frames at any rate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Sends for some seconds, or until interrupted, and prints {"sent": …, "overruns": …, "seconds": …}."""
    parser = argparse.ArgumentParser(prog="python -m bench.traffic", description="send frames out of a device, in the kernel")
    parser.add_argument("--netns", required=True, help="name of the network namespace")
    parser.add_argument("--device", required=True)
    parser.add_argument("--packet", required=True, action="append", help="a frame in hexadecimal; several take turns")
    parser.add_argument("--rate", type=float, help="frames a second; as many as go, if not given")
    parser.add_argument("--seconds", type=float, help="how long; until interrupted, if not given")
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--vary", help="OFFSET:WIDTH:COUNT[:CHECKSUM_OFFSET…]")
    given = parser.parse_args(arguments)
    variation = None
    if given.vary:
        offset, width, count, *checksums = (int(part) for part in given.vary.split(":"))
        variation = Variation(offset, width, count, tuple(checksums))
    packets = [bytes.fromhex(packet) for packet in given.packet]
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    began = time.perf_counter()
    namespace = Namespace(given.netns)
    with Generator(namespace, given.device, *packets, variation=variation, rate=given.rate, cpu=given.cpu) as generator:
        stopped.wait(given.seconds)
        sent, seconds = generator.stop(), time.perf_counter() - began
        print(json.dumps({"sent": sent, "overruns": generator.overruns, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
