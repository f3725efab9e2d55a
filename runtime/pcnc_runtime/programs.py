"""BPF programs in the kernel: what the kernel says of them, and running one on a packet (BPF_PROG_TEST_RUN).

Every function raises OSError with the kernel's errno unless it says otherwise.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum

from pcnc_runtime.descriptors import Descriptor, kind_of
from pcnc_runtime.libbpf import LoadOptions, ProgramInfo, TestRunOptions, checked, library

SHORTEST_PACKET = 14
"""The kernel refuses to run a program on less than an Ethernet header (EINVAL)."""

_LARGEST_OUTPUT = 1 << 16
_BPF_XDP = 37  # enum bpf_attach_type


class ProgramType(IntEnum):
    """`enum bpf_prog_type`, as far as it is used."""

    SCHED_CLS = 3
    XDP = 6


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What the kernel says of a program.

    Lengths in bytes, `load_time` in ns since boot, `run_time` in ns over `runs` (0 unless kernel.bpf_stats_enabled).
    """

    id: int
    type: int
    name: str
    tag: str
    map_ids: tuple[int, ...]
    verified_instructions: int
    translated_length: int
    jited_length: int
    load_time: int
    run_time: int
    runs: int


class Program(Descriptor):
    """A program, owned through its descriptor."""

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        """Takes over the descriptor. ValueError where it stands for something else than a program."""
        super().__init__(fd)
        if kind_of(fd) != "bpf-prog":
            raise ValueError(f"descriptor {fd} is not a program")

    @property
    def facts(self) -> ProgramFacts:
        """What the kernel says of it now."""
        return program_facts(self.fd)


def program_facts(fd: int) -> ProgramFacts:
    """What the kernel says of the program behind a descriptor."""
    info = ProgramInfo()
    _fill(fd, info)
    # The number of maps is known only after the first call: the second fetches as many ids.
    ids = (ctypes.c_uint32 * info.nr_map_ids)()
    if info.nr_map_ids:
        info = ProgramInfo(nr_map_ids=info.nr_map_ids, map_ids=ctypes.addressof(ids))
        _fill(fd, info)
    return ProgramFacts(
        id=info.id,
        type=info.type,
        name=info.name.decode(),
        tag=bytes(info.tag).hex(),
        map_ids=tuple(ids),
        verified_instructions=info.verified_insns,
        translated_length=info.xlated_prog_len,
        jited_length=info.jited_prog_len,
        load_time=info.load_time,
        run_time=info.run_time_ns,
        runs=info.run_cnt,
    )


def _fill(fd: int, info: ProgramInfo) -> None:
    size = ctypes.c_uint32(ctypes.sizeof(info))
    checked(library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)))


def program_id(fd: int) -> int:
    """The id of the program behind a descriptor."""
    info = ProgramInfo()
    _fill(fd, info)
    return int(info.id)


def open_program_by_id(id: int) -> Program:
    """The program with this id, ENOENT if there is none."""
    return Program(checked(library().bpf_prog_get_fd_by_id(id)))


def load_instructions(kind: ProgramType, code: bytes, name: str) -> Program:
    """Loads instructions that no compiler made: 8 bytes each, `struct bpf_insn`. They may go where compiled programs go."""
    # As libbpf has it for what a compiler made: programs that tail-call each other must agree in it (Linux 6.18).
    attach_type = _BPF_XDP if kind is ProgramType.XDP else 0
    options = LoadOptions(sz=ctypes.sizeof(LoadOptions), expected_attach_type=attach_type)
    arguments = (kind, name.encode(), b"Dual BSD/GPL", code, len(code) // 8, ctypes.byref(options))
    return Program(checked(library().bpf_prog_load(*arguments)))


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a program returned, the packet as it left it, and the mean duration of a run in whole ns."""

    verdict: int
    packet: bytes
    duration: int
    context: bytes = b""


def run_program(fd: int, packet: bytes, *, repeat: int = 1, context: bytes = b"", room: int = _LARGEST_OUTPUT) -> RunResult:
    """Runs a program on a packet in the kernel, without any device, and returns what became of it.

    `context` is a `struct xdp_md` or `struct __sk_buff` to start from. `room` is how many bytes the packet may have
    afterwards (ENOSPC beyond). With `repeat` above 1 the packet is not restored between runs, and the kernel gives up after
    a signal (EINTR). EINVAL for a packet of less than 14 bytes and, to a TC program, for one whose EtherType is IPv4 or IPv6
    and that has no room for that header (34, 54 bytes), and for one above some 3,700 bytes. An XDP program finds only the
    first 3,500 bytes or so of a longer packet, as on a device with fragmented buffers.
    """
    out = ctypes.create_string_buffer(room)
    context_out = ctypes.create_string_buffer(len(context)) if context else None
    options = TestRunOptions(
        sz=ctypes.sizeof(TestRunOptions),
        data_in=ctypes.cast(ctypes.c_char_p(packet), ctypes.c_void_p),
        data_size_in=len(packet),
        data_out=ctypes.cast(out, ctypes.c_void_p),
        data_size_out=room,
        repeat=repeat,
    )
    if context_out is not None:
        options.ctx_in = ctypes.cast(ctypes.c_char_p(context), ctypes.c_void_p)
        options.ctx_out = ctypes.cast(context_out, ctypes.c_void_p)
        options.ctx_size_in = options.ctx_size_out = len(context)
    checked(library().bpf_prog_test_run_opts(fd, ctypes.byref(options)))
    after = context_out.raw[: options.ctx_size_out] if context_out is not None else b""
    return RunResult(options.retval, out.raw[: options.data_size_out], options.duration, after)
