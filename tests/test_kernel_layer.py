"""Maps, programs and objects in the kernel, as the layer over libbpf gives them."""

from __future__ import annotations

import errno
import gc
import os
import random
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pcnc_runtime.build import compile_source
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.grace import _replace_inner_map, wait_for_packets
from pcnc_runtime.kernel_maps import (
    KernelMap,
    MapFlag,
    MapType,
    Update,
    create_constant_map,
    create_map,
    map_facts,
    open_map_by_id,
)
from pcnc_runtime.libbpf import possible_cpus
from pcnc_runtime.objects import ObjectFile, load_program
from pcnc_runtime.probe import load_minimal, probe
from pcnc_runtime.programs import SHORTEST_PACKET, ProgramType, open_program_by_id, program_id, run_program

pytestmark = pytest.mark.kernel

HEAD = """
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
#define MAP(kind, entries, key_type, value_type, name) \\
    struct { int (*type)[kind]; int (*max_entries)[entries]; key_type *key; value_type *value; } name SEC(".maps")
#define lookup ((void *(*)(void *map, const void *key))BPF_FUNC_map_lookup_elem)
#define tail_call ((long (*)(void *context, void *map, __u32 index))BPF_FUNC_tail_call)
char _license[] SEC("license") = "Dual BSD/GPL";
"""
XDP = (
    HEAD
    + """
MAP(BPF_MAP_TYPE_PROG_ARRAY, 1, __u32, __u32, blocks);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, __u64, runs);
const volatile struct { __u32 verdict, next; } config SEC(".rodata.config") = {.verdict = 1, .next = 0};

SEC("xdp") int block(struct xdp_md *context)
{
    __u32 key = 0;
    __u64 *count = lookup(&runs, &key);

    if (count)
        *count += 1;
    if (config.next)
        tail_call(context, &blocks, config.next);
    return config.verdict;
}
"""
)
TC = (
    HEAD
    + """
SEC("tc") int mark(struct __sk_buff *context)
{
    unsigned char *data = (void *)(long)context->data;

    if (data + 1 > (unsigned char *)(long)context->data_end)
        return 2;
    *data = 0xaa;
    return context->len == 0xffff ? 2 : 7;
}
"""
)
TABLE = (
    HEAD
    + """
MAP(BPF_MAP_TYPE_ARRAY, 1, __u32, __u64, table);

SEC("xdp") int first(struct xdp_md *context)
{
    __u32 key = 0;
    volatile __u64 *word = lookup(&table, &key);

    return word && context ? *word : 0;
}
"""
)


@contextmanager
def refused(code: int) -> Iterator[None]:
    """Expects the kernel to refuse with an errno."""
    with pytest.raises(OSError, match=re.escape(os.strerror(code))) as caught:
        yield
    assert caught.value.errno == code


@contextmanager
def told(name: str, *words: str) -> Iterator[None]:
    """Expects a problem of a name, whose message holds some words."""
    with pytest.raises(RuntimeProblem) as caught:
        yield
    assert caught.value.name == name
    assert all(word in caught.value.message for word in words), caught.value.message


def packed(verdict: int, following: int = 0) -> bytes:
    return struct.pack("=II", verdict, following)


# ---- maps


def test_an_entry_comes_back_as_it_was_written() -> None:
    with create_map(MapType.HASH, 4, 8, 4, name="a map with blanks and length") as made:
        assert made.lookup(1) is None
        made.update(1, b"12345678")
        assert made.lookup(1) == b"12345678"
        assert made.lookup(b"\1\0\0\0") == b"12345678"
        with pytest.raises(FileExistsError):
            made.update(1, bytes(8), Update.ONLY_NEW)
        with pytest.raises(FileNotFoundError):
            made.update(2, bytes(8), Update.ONLY_EXISTING)
        assert made.delete(1)
        assert not made.delete(1)
        assert (made.facts.name, made.facts.type, made.facts.max_entries) == ("a_map_with_blan", MapType.HASH, 4)


def test_a_key_or_value_of_the_wrong_size_never_reaches_the_kernel() -> None:
    with create_map(MapType.HASH, 8, 8, 4) as made:
        for key, value in ((b"1234", bytes(8)), (bytes(8), bytes(7)), (1, bytes(8))):
            with pytest.raises(ValueError, match="bytes"):
                made.update(key, value)
        with pytest.raises(ValueError, match="bytes"):
            made.update_batch(bytes(8), bytes(15), 2)


def test_a_full_hash_says_that_there_is_no_space() -> None:
    with create_map(MapType.HASH, 4, 4, 2, flags=MapFlag.NO_PREALLOC) as made:
        made.update_batch(bytes(range(8)), bytes(8), 2)
        with refused(errno.E2BIG):
            made.update(0, bytes(4))


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.PERCPU_ARRAY])
def test_a_batch_is_what_its_entries_would_be(kind: MapType) -> None:
    count = 5000
    with create_map(kind, 4, 8, 8192) as made:
        copies = possible_cpus() if made.facts.is_per_cpu else 1
        wanted = {struct.pack("=I", key): struct.pack("=Q", key * key) * copies for key in range(count)}
        made.update_batch(b"".join(wanted), b"".join(wanted.values()), count)
        found = dict(made.items(chunk=512))
        assert all(found[key] == value for key, value in wanted.items())
        assert set(made.keys()) == set(found)
        assert len(found) == (8192 if kind in (MapType.ARRAY, MapType.PERCPU_ARRAY) else count)
        made.update_batch(b"", b"", 0)


def test_a_trie_takes_a_batch_and_gives_its_entries() -> None:
    draw = random.Random(7)
    wanted = {struct.pack("=I4s", 32, draw.randbytes(4)): struct.pack("=I", n) for n in range(1000)}
    with create_map(MapType.LPM_TRIE, 8, 4, 1000, flags=MapFlag.NO_PREALLOC) as made:
        made.update_batch(b"".join(wanted), b"".join(wanted.values()), len(wanted))
        assert dict(made.items(chunk=100)) == wanted
        with refused(errno.EINVAL):
            made.update_batch(struct.pack("=I4s", 33, bytes(4)), bytes(4), 1)


def test_the_entries_of_a_program_array_are_found_one_by_one() -> None:
    with create_map(MapType.PROG_ARRAY, 4, 4, 3) as blocks, load_minimal(ProgramType.XDP) as program:
        blocks.set_slot(1, program.fd)
        assert blocks.slots() == (None, program_id(program.fd), None)
        assert list(blocks.items()) == [(struct.pack("=I", 1), struct.pack("=I", program_id(program.fd)))]
        assert blocks.delete(1)
        assert not blocks.delete(1)
        with load_minimal(ProgramType.SCHED_CLS) as other:
            blocks.set_slot(0, program.fd)
            with refused(errno.EINVAL):
                blocks.set_slot(2, other.fd)


def test_per_cpu_values_are_summed_modulo_64_bits() -> None:
    with create_map(MapType.PERCPU_ARRAY, 4, 12, 1) as made:
        assert made.facts.stride == 16 * possible_cpus()
        values = [struct.pack("=QQ", (1 << 64) - 1 if cpu == 0 else 2, cpu) for cpu in range(possible_cpus())]
        made.update(0, b"".join(values))
        others = possible_cpus() - 1
        assert made.sum_per_cpu(0) == ((2 * others - 1) & (1 << 64) - 1, others * (others + 1) // 2)
        assert made.sum_per_cpu(1) is None


def test_a_constant_map_can_be_changed_by_nobody() -> None:
    with create_constant_map(b"rules" * 100, name="sources") as made:
        assert made.lookup(0) == b"rules" * 100
        assert made.is_frozen
        with pytest.raises(PermissionError):
            made.update(0, bytes(500))
    with create_map(MapType.ARRAY, 4, 4, 1) as made:
        assert not made.is_frozen


def test_a_map_is_found_by_its_id_while_it_lives() -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as made, open_map_by_id(made.facts.id) as again:
        made.update(0, b"abcd")
        assert again.lookup(0) == b"abcd"
        id = made.facts.id
    wait_for_packets()
    with pytest.raises(FileNotFoundError):
        open_map_by_id(id)


def test_what_is_no_map_is_not_taken_for_one() -> None:
    with load_minimal(ProgramType.XDP) as program, pytest.raises(ValueError, match="not a map"):
        map_facts(program.fd)


# ---- programs


def test_a_program_says_what_it_is() -> None:
    with create_map(MapType.PERCPU_ARRAY, 4, 8, 1, name="runs") as runs:
        with load_program(compile_source(XDP), maps={"runs": runs.fd}) as program:
            facts = program.facts
            assert (facts.name, facts.type) == ("block", ProgramType.XDP)
            assert runs.facts.id in facts.map_ids
            assert facts.jited_length > 0
            assert 0 < facts.verified_instructions < 100
            with open_program_by_id(facts.id) as again:
                assert again.facts == facts
        wait_for_packets()
        with pytest.raises(FileNotFoundError):
            open_program_by_id(facts.id)


def test_running_an_xdp_program_gives_its_verdict_and_counts() -> None:
    with create_map(MapType.PERCPU_ARRAY, 4, 8, 1) as runs:
        with load_program(compile_source(XDP), maps={"runs": runs.fd}, values={".rodata.config": packed(2)}) as program:
            packet = bytes(range(64))
            result = run_program(program.fd, packet)
            assert (result.verdict, result.packet) == (2, packet)
            assert run_program(program.fd, packet, repeat=99).verdict == 2
        assert runs.sum_per_cpu(0) == (100,)


def test_running_a_tc_program_gives_the_packet_as_it_left_it() -> None:
    with load_program(compile_source(TC)) as program:
        result = run_program(program.fd, bytes(64))
        assert (result.verdict, result.packet) == (7, b"\xaa" + bytes(63))


@pytest.mark.parametrize("text", [XDP, TC], ids=["xdp", "tc"])
def test_a_packet_without_a_whole_ethernet_header_cannot_be_run(text: str) -> None:
    with load_program(compile_source(text)) as program, refused(errno.EINVAL):
        run_program(program.fd, bytes(SHORTEST_PACKET - 1))


@pytest.mark.parametrize(("type", "header"), [(0x0800, 20), (0x86DD, 40)], ids=["ipv4", "ipv6"])
def test_only_an_xdp_program_can_be_run_on_a_header_cut_short(type: int, header: int) -> None:
    ethernet = bytes(12) + type.to_bytes(2)
    with load_program(compile_source(TC)) as tc, load_program(compile_source(XDP)) as xdp:
        assert run_program(tc.fd, ethernet + bytes(header)).verdict == 7
        assert run_program(xdp.fd, ethernet + bytes(header - 1)).verdict == 1
        with refused(errno.EINVAL):
            run_program(tc.fd, ethernet + bytes(header - 1))


@pytest.mark.parametrize("length", [SHORTEST_PACKET, SHORTEST_PACKET + 1, 60, 1514, 3000])
@pytest.mark.parametrize("text", [XDP, TC], ids=["xdp", "tc"])
def test_a_packet_of_any_usual_length_can_be_run(text: str, length: int) -> None:
    with load_program(compile_source(text)) as program:
        assert len(run_program(program.fd, bytes(length)).packet) == length


def test_a_packet_that_outgrows_its_room_is_refused() -> None:
    with load_program(compile_source(XDP)) as program, refused(errno.ENOSPC):
        run_program(program.fd, bytes(100), room=99)


def test_a_context_goes_in_and_comes_back() -> None:
    """`struct __sk_buff` has 192 bytes; `cb` begins at byte 48."""
    context = bytearray(192)
    context[48:68] = bytes(range(1, 21))
    with load_program(compile_source(TC)) as program:
        assert run_program(program.fd, bytes(64), context=bytes(context)).context[48:68] == bytes(range(1, 21))


# ---- objects


def test_blocks_are_joined_through_maps_that_the_caller_made() -> None:
    data = compile_source(XDP)
    with create_map(MapType.PROG_ARRAY, 4, 4, 3) as blocks, create_map(MapType.PERCPU_ARRAY, 4, 8, 1) as runs:
        maps = {"blocks": blocks.fd, "runs": runs.fd}
        with (
            load_program(data, maps=maps, values={".rodata.config": packed(0, 1)}, name="zero") as zero,
            load_program(data, maps=maps, values={".rodata.config": packed(0, 2)}) as one,
            load_program(data, maps=maps, values={".rodata.config": packed(3, 0)}) as two,
        ):
            assert run_program(zero.fd, bytes(64)).verdict == 0
            for index, program in enumerate((zero, one, two)):
                blocks.set_slot(index, program.fd)
            assert run_program(zero.fd, bytes(64)).verdict == 3
        assert runs.sum_per_cpu(0) == (4,)


def test_what_an_object_declares_can_be_read_before_it_is_loaded() -> None:
    with ObjectFile(compile_source(XDP)) as opened:
        assert opened.program_names == ("block",)
        declared = {m.name: m for m in opened.declared_maps}
        assert set(declared) == {"blocks", "runs", ".rodata.config"}
        assert (declared["blocks"].type, declared["blocks"].max_entries) == (MapType.PROG_ARRAY, 1)
        assert declared[".rodata.config"].internal
        assert opened.value(".rodata.config") == packed(1, 0)
        opened.resize_map("blocks", 9)
        opened.load()
        with opened.take_map("blocks") as blocks:
            assert blocks.facts.max_entries == 9


def test_a_table_of_any_size_takes_the_place_of_the_declared_array() -> None:
    table = create_constant_map(struct.pack("=Q", 2) + bytes(1 << 20))
    with table, load_program(compile_source(TABLE), maps={"table": table.fd}) as program:
        assert run_program(program.fd, bytes(64)).verdict == 2


@pytest.mark.parametrize(("kind", "key", "value"), [(MapType.HASH, 4, 8), (MapType.PERCPU_ARRAY, 4, 16)])
def test_a_map_of_another_shape_is_refused(kind: MapType, key: int, value: int) -> None:
    with ObjectFile(compile_source(XDP)) as opened, create_map(kind, key, value, 1) as made, told("map-shape"):
        opened.use_map("runs", made.fd)


def test_names_that_an_object_does_not_have_are_told() -> None:
    with ObjectFile(compile_source(XDP), "acl") as opened, create_map(MapType.ARRAY, 4, 4, 1) as made:
        with told("object-without-map", "`acl`", "`rules`"):
            opened.use_map("rules", made.fd)
        with told("object-without-map", "`acl`", "`.rodata.rules`"):
            opened.set_value(".rodata.rules", b"")
        with told("object-without-program", "`acl`", "`other`"):
            opened.load_only(["other"])
        with pytest.raises(ValueError, match="8 bytes"):
            opened.set_value(".rodata.config", bytes(4))
        with pytest.raises(ValueError, match="compiler"):
            opened.use_map(".rodata.config", made.fd)


@pytest.mark.parametrize("data", [b"", b"no ELF at all", b"\x7fELF" + bytes(60)], ids=["empty", "text", "zeros"])
def test_bytes_that_are_no_object_are_told(data: bytes) -> None:
    with told("broken-object", "`noise`"):
        ObjectFile(data, "noise")


def test_an_object_cut_short_anywhere_is_told() -> None:
    whole = compile_source(XDP)
    for length in range(0, len(whole), 97):
        with told("broken-object"):
            load_program(whole[:length])


REFUSED = (
    HEAD
    + """
#line 12 "firewall.pcn"
SEC("xdp") int reads(struct xdp_md *context) {
#line 34 "firewall.pcn"
    return *(int *)(long)context->data;
}
"""
)


def test_a_refused_program_is_told_with_its_line_and_log() -> None:
    with pytest.raises(RuntimeProblem) as caught:
        load_program(compile_source(REFUSED))
    problem = caught.value
    assert problem.name == "verifier-refused"
    assert problem.refusal is not None
    assert (problem.refusal.program, problem.refusal.file, problem.refusal.line) == ("reads", "firewall.pcn", 34)
    assert problem.refusal.reason in problem.message
    assert "invalid access to packet" in problem.log
    assert problem.errno == errno.EACCES


def test_the_program_at_fault_is_named_among_several() -> None:
    good = 'SEC("xdp") int good(struct xdp_md *context) { return context ? 2 : 1; }\n'
    with ObjectFile(compile_source(HEAD + good + REFUSED[len(HEAD) :]), "pair") as opened, told("verifier-refused", "`reads`"):
        opened.load()
    with ObjectFile(compile_source(HEAD + good + REFUSED[len(HEAD) :]), "pair") as opened:
        opened.load_only(["good"])
        opened.load()
        assert run_program(opened.program_fd("good"), bytes(64)).verdict == 2
        with pytest.raises(ValueError, match="not loaded"):
            opened.program_fd("reads")


def test_whoever_has_no_privilege_is_told_what_would_help() -> None:
    data = compile_source(XDP)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            load_program(data, name="acl")
        except RuntimeProblem as problem:
            os.write(writing, f"{problem.name}|{problem.message}|{problem.help}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        name, message, help = said.read().split("|")
    os.waitpid(pid, 0)
    assert name == "no-privilege"
    assert message == "cannot load `acl`: Operation not permitted (EPERM)"
    assert "CAP_BPF" in help


def test_nothing_keeps_a_descriptor() -> None:
    data, bad = compile_source(XDP), compile_source(REFUSED)

    def use_everything() -> None:
        for _ in range(5):
            with create_map(MapType.PERCPU_ARRAY, 4, 8, 1) as runs, load_program(data, maps={"runs": runs.fd}) as program:
                run_program(program.fd, bytes(64))
            for broken in (bad, data[:500]):
                with pytest.raises(RuntimeProblem):
                    load_program(broken)
            with ObjectFile(data) as opened:
                opened.load()
                opened.take_map("runs").close()
            _replace_inner_map()
            probe()

    use_everything()
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    use_everything()
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_closed_descriptor_is_not_used_again() -> None:
    made = create_map(MapType.ARRAY, 4, 4, 1)
    made.close()
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.lookup(0)


def test_a_grace_period_can_be_waited_for_in_both_ways() -> None:
    wait_for_packets()
    _replace_inner_map()


def test_descriptors_are_closed_on_exec() -> None:
    with load_program(compile_source(XDP)) as program, create_map(MapType.ARRAY, 4, 4, 1) as made:
        assert not os.get_inheritable(program.fd)
        assert not os.get_inheritable(made.fd)


def test_a_map_that_nobody_holds_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))
    kept: list[KernelMap] = [create_map(MapType.ARRAY, 4, 4, 1)]
    assert len(os.listdir("/proc/self/fd")) == before + 1
    kept.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
