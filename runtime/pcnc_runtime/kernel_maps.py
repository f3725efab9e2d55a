"""BPF maps: creating, reading, writing, filling many entries at once, freezing, and what the kernel says of them.

Keys and values are bytes exactly as the program sees them; where a key is a u32 index, an int will do. Every function raises
OSError with the kernel's errno unless it says otherwise. Memory is the caller's: sizes are checked before the kernel copies.
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

from pcnc_runtime.descriptors import Descriptor, kind_of
from pcnc_runtime.errors import ENOTSUPP
from pcnc_runtime.libbpf import BatchOptions, MapCreateOptions, MapInfo, checked, library, possible_cpus


class MapType(IntEnum):
    """`enum bpf_map_type`, as far as it is used."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    RINGBUF = 27


class MapFlag(IntFlag):
    """Flags of BPF_MAP_CREATE. RDONLY_PROG: programs cannot write it; with `freeze`, the verifier takes its content as constant."""

    NONE = 0
    NO_PREALLOC = 1 << 0
    RDONLY_PROG = 1 << 7
    MMAPABLE = 1 << 10


class Update(IntEnum):
    """What `update` does with an entry that is, or is not, there already."""

    ANY = 0
    ONLY_NEW = 1
    ONLY_EXISTING = 2


_PER_CPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What the kernel says of a map. Sizes in bytes; `value_size` is that of one CPU. `type` is an `enum bpf_map_type`."""

    id: int
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int

    @property
    def is_per_cpu(self) -> bool:
        """Whether each entry has one value a CPU."""
        return self.type in _PER_CPU

    @property
    def stride(self) -> int:
        """Bytes of one entry as user space reads and writes it: all CPUs, each rounded up to 8."""
        return (self.value_size + 7) // 8 * 8 * possible_cpus() if self.is_per_cpu else self.value_size


def map_facts(fd: int) -> MapFacts:
    """What the kernel says of the map behind a descriptor. ValueError where it stands for something else."""
    if kind_of(fd) != "bpf-map":
        raise ValueError(f"descriptor {fd} is not a map")
    info = MapInfo()
    size = ctypes.c_uint32(ctypes.sizeof(info))
    checked(library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)))
    return MapFacts(info.id, info.type, info.name.decode(), info.key_size, info.value_size, info.max_entries, info.map_flags)


class KernelMap(Descriptor):
    """A map, owned through its descriptor. The kernel keeps the map while anybody (a program, a pin) uses it."""

    __slots__ = ("facts",)

    def __init__(self, fd: int) -> None:
        """Takes over the descriptor. ValueError where it stands for something else than a map."""
        super().__init__(fd)
        self.facts = map_facts(fd)

    def _key(self, key: int | bytes) -> bytes:
        data = key.to_bytes(4, sys.byteorder) if isinstance(key, int) else key
        if len(data) != self.facts.key_size:
            raise ValueError(f"map {self.facts.name}: a key has {self.facts.key_size} bytes, not {len(data)}")
        return data

    def lookup(self, key: int | bytes) -> bytes | None:
        """The value, or None. Of a per-CPU map all values, CPU 0 first, each padded to 8; of a PROG_ARRAY the program's id."""
        value = ctypes.create_string_buffer(self.facts.stride)
        result = library().bpf_map_lookup_elem(self.fd, self._key(key), value)
        if result == -errno.ENOENT:
            return None
        checked(result)
        return value.raw

    def sum_per_cpu(self, key: int | bytes) -> tuple[int, ...] | None:
        """The value of a per-CPU map taken as native u64 words, summed over the CPUs, modulo 2**64; None without entry."""
        value = self.lookup(key)
        return None if value is None else self.sum_words(value)

    def sum_words(self, value: bytes) -> tuple[int, ...]:
        """The same for a value already read (by `items`)."""
        words = memoryview(value).cast("Q")
        each = (self.facts.value_size + 7) // 8
        return tuple(sum(words[word::each]) & (1 << 64) - 1 for word in range(each))

    def update(self, key: int | bytes, value: bytes, how: Update = Update.ANY) -> None:
        """Writes one entry. Of a per-CPU map, `value` holds one padded value for each possible CPU."""
        if len(value) != self.facts.stride:
            raise ValueError(f"map {self.facts.name}: a value has {self.facts.stride} bytes, not {len(value)}")
        checked(library().bpf_map_update_elem(self.fd, self._key(key), value, how))

    def delete(self, key: int | bytes) -> bool:
        """Removes one entry (an array has none to remove: EINVAL); False if there was none."""
        result = library().bpf_map_delete_elem(self.fd, self._key(key))
        if result == -errno.ENOENT:
            return False
        checked(result)
        return True

    def update_batch(self, keys: bytes, values: bytes, count: int) -> None:
        """Writes `count` entries, keys and values laid end to end. An OSError may leave the first of them written."""
        facts = self.facts
        if len(keys) != count * facts.key_size or len(values) != count * facts.stride:
            raise ValueError(f"map {facts.name}: {count} entries need {count * facts.key_size}+{count * facts.stride} bytes")
        if not count:
            return
        done = ctypes.c_uint32(count)
        options = BatchOptions(ctypes.sizeof(BatchOptions), 0, 0)
        result = library().bpf_map_update_batch(self.fd, keys, values, ctypes.byref(done), ctypes.byref(options))
        if result != -ENOTSUPP:
            checked(result)
            return
        for i in range(count):
            key = keys[i * facts.key_size : (i + 1) * facts.key_size]
            self.update(key, values[i * facts.stride : (i + 1) * facts.stride])

    def keys(self) -> Iterator[bytes]:
        """Every key. While others insert and delete, some may come twice or not at all."""
        before: bytes | None = None
        after = ctypes.create_string_buffer(self.facts.key_size)
        while (result := library().bpf_map_get_next_key(self.fd, before, after)) != -errno.ENOENT:
            checked(result)
            before = after.raw
            yield before

    def items(self, chunk: int = 4096) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value, in batches where the kernel can. Same caveat as `keys`."""
        facts = self.facts
        position = ctypes.create_string_buffer(max(4, facts.key_size))
        options = BatchOptions(ctypes.sizeof(BatchOptions), 0, 0)
        first = True
        while True:
            keys = ctypes.create_string_buffer(facts.key_size * chunk)
            values = ctypes.create_string_buffer(facts.stride * chunk)
            count = ctypes.c_uint32(chunk)
            result = library().bpf_map_lookup_batch(
                self.fd, None if first else position, position, keys, values, ctypes.byref(count), ctypes.byref(options)
            )
            if first and result in (-ENOTSUPP, -errno.EINVAL):
                yield from ((key, value) for key in self.keys() if (value := self.lookup(key)) is not None)
                return
            if result == -errno.ENOSPC:  # a hash bucket that holds more than a whole chunk
                chunk *= 2
                continue
            if result != -errno.ENOENT:
                checked(result)
            all_keys, all_values = keys.raw, values.raw
            for i in range(count.value):
                yield (
                    all_keys[i * facts.key_size : (i + 1) * facts.key_size],
                    all_values[i * facts.stride : (i + 1) * facts.stride],
                )
            if result == -errno.ENOENT:
                return
            first = False

    def set_slot(self, index: int, program_fd: int) -> None:
        """PROG_ARRAY: puts a program into a slot, in place of what was there; one atomic write."""
        self.update(index, program_fd.to_bytes(4, sys.byteorder))

    def slot(self, index: int) -> int | None:
        """PROG_ARRAY: the id of the program in a slot, None where it is empty."""
        value = self.lookup(index)
        return None if value is None else int.from_bytes(value, sys.byteorder)

    def slots(self) -> tuple[int | None, ...]:
        """PROG_ARRAY: the ids of the programs in all slots."""
        return tuple(self.slot(index) for index in range(self.facts.max_entries))

    def freeze(self) -> None:
        """Makes it read-only for user space, for ever."""
        checked(library().bpf_map_freeze(self.fd))

    @property
    def is_frozen(self) -> bool:
        """Whether `freeze` was called on it, by whomever."""
        return "frozen:\t1" in Path(f"/proc/self/fdinfo/{self.fd}").read_text()


def create_map(
    type: MapType,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    name: str = "",
    flags: MapFlag = MapFlag.NONE,
    inner_map_fd: int = 0,
) -> KernelMap:
    """A new map. Sizes in bytes. Of the name the kernel keeps 15 characters out of [A-Za-z0-9_.]."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "_.") else "_" for char in name)[:15]
    options = MapCreateOptions(sz=ctypes.sizeof(MapCreateOptions), map_flags=flags, inner_map_fd=inner_map_fd)
    arguments = (type, kept.encode(), key_size, value_size, max_entries, ctypes.byref(options))
    return KernelMap(checked(library().bpf_map_create(*arguments)))


def create_constant_map(value: bytes, *, name: str = "") -> KernelMap:
    """A frozen one-entry array of `value` that programs can only read: the verifier folds what it holds into the code."""
    made = create_map(MapType.ARRAY, 4, len(value), 1, name=name, flags=MapFlag.RDONLY_PROG)
    try:
        made.update(0, value)
        made.freeze()
    except BaseException:
        made.close()
        raise
    return made


def open_map_by_id(id: int) -> KernelMap:
    """The map with this id, ENOENT if there is none."""
    return KernelMap(checked(library().bpf_map_get_fd_by_id(id)))
