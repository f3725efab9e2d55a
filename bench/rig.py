"""What a packet costs in an XDP program, in ns above one that does nothing, by BPF_PROG_TEST_RUN.

Three things make a figure here mean something. The packets rotate (one packet repeated has perfect branch prediction and
hot caches: give both, one packet and 65,536). The candidates take turns, burst by burst, so that whatever else the machine
does meets them all alike. And the frame is restored before each run, at a cost that the empty program bears as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from pcnc_runtime.build import compile_source
from pcnc_runtime.kernel_maps import KernelMap, MapType, create_map
from pcnc_runtime.objects import ObjectFile
from pcnc_runtime.programs import RunResult, run_program

HEAD = 80
"""Bytes of a packet that are restored before each run; `rotation.bpf.c` says the same."""

BURST = 4_000_000
"""How long a burst lasts, in ns, where one turn of all packets does not take longer."""

_XDP_ABORTED = 0
_NOTHING = ""
_SOURCE = Path(__file__).with_name("rotation.bpf.c")


def measure(candidates: Mapping[str, int], packets: Sequence[bytes], rounds: int = 25) -> dict[str, float]:
    """The mean ns a packet, above an empty program, of each candidate (an XDP program, by descriptor).

    Every candidate runs on all the packets in turn, one burst a round, in an order that shifts from round to round. The
    kernel gives a burst's mean in whole ns, cut: the mean of the middle half of the bursts leaves out those that something
    interrupted and still tells fractions of a ns. Packets have one length and differ only in their first 80 bytes, else
    ValueError; shorter ones are padded, as a device pads them. Raises OSError where the kernel refuses, and RuntimeError
    where a candidate aborts a packet, which is no measurement.
    """
    frame = _frame(packets)
    with _rotation(packets) as (rotate, slot, nothing), _one_cpu():
        programs = {_NOTHING: nothing, **candidates}
        turns = {name: _turns(rotate, slot, fd, name, frame, len(packets)) for name, fd in programs.items()}
        bursts: dict[str, list[int]] = {name: [] for name in programs}
        order = list(programs)
        for _ in range(rounds):
            for name in order:
                slot.set_slot(0, programs[name])
                bursts[name].append(run_program(rotate, frame, repeat=turns[name], room=len(frame)).duration)
            order.append(order.pop(0))
    empty = middle_mean(bursts.pop(_NOTHING))
    return {name: middle_mean(values) - empty for name, values in bursts.items()}


def middle_mean(values: Sequence[int]) -> float:
    """The mean of what is left without the lowest and the highest quarter."""
    cut = len(values) // 4
    return fmean(sorted(values)[cut : len(values) - cut])


def _frame(packets: Sequence[bytes]) -> bytes:
    """The frame that the packets' heads are laid into."""
    if len({(len(packet), packet[HEAD:]) for packet in packets}) != 1:
        raise ValueError(f"packets to measure with have one length, and differ in their first {HEAD} bytes only")
    return packets[0].ljust(HEAD, b"\0")


@contextmanager
def _rotation(packets: Sequence[bytes]) -> Iterator[tuple[int, KernelMap, int]]:
    """The program that rotates, the slot of the one under test, and the one that does nothing."""
    heads = b"".join(packet[:HEAD].ljust(HEAD, b"\0") for packet in packets)
    numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in range(len(packets)))
    with (
        create_map(MapType.ARRAY, 4, HEAD, len(packets), name="packets") as kept,
        ObjectFile(compile_source(_SOURCE.read_text(), name=_SOURCE.name), "rotation") as opened,
    ):
        kept.update_batch(numbers, heads, len(packets))
        opened.use_map("packets", kept.fd)
        opened.load()
        with opened.take_map("under_test") as slot:
            yield opened.program_fd("rotate"), slot, opened.program_fd("nothing")


def _turns(rotate: int, slot: KernelMap, program: int, name: str, frame: bytes, packets: int) -> int:
    """How often a candidate runs in a burst: whole turns of all packets, as many as fit into BURST, one at least."""
    slot.set_slot(0, program)
    tried: RunResult = run_program(rotate, frame, repeat=max(packets, 2000), room=len(frame))
    if tried.verdict == _XDP_ABORTED:
        raise RuntimeError(f"{name or 'the empty program'} aborts the packet: nothing to measure")
    return max(1, BURST // (max(1, tried.duration) * packets)) * packets


@contextmanager
def _one_cpu() -> Iterator[None]:
    """Stays on one CPU while the block runs: the last, which serves the fewest interrupts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
