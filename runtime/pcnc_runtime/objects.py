"""Compiled objects (ELF, as clang makes them): opening one from bytes, giving it maps and constants, loading its programs.

with ObjectFile(data, "sources") as opened:
    opened.use_map("blocks", blocks.fd)
    opened.set_value(".rodata.config", settings)
    opened.load()
    program = opened.take_program("sources")
"""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from pcnc_runtime.descriptors import duplicate
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.kernel_maps import KernelMap, MapType, map_facts
from pcnc_runtime.libbpf import OpenOptions, library, messages
from pcnc_runtime.programs import Program
from pcnc_runtime.refusals import read_verifier_log

_LOG_SIZE = (1 << 24) - 1  # the most that every kernel takes
_LIBBPF_ERRNO_START = 4000  # <bpf/libbpf.h>: errors of its own, such as a file that is no ELF


@dataclass(frozen=True, slots=True)
class DeclaredMap:
    """A map as an object declares it. `internal`: made by the compiler for a section such as `.rodata.config`."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    internal: bool


class ObjectFile:
    """An object that is open, and once `load` has returned, its programs and maps in the kernel.

    It owns all of that until the end of the `with`; `take_program` and `take_map` give descriptors that outlive it.
    """

    def __init__(self, data: bytes, name: str = "object") -> None:
        """Opens an object. RuntimeProblem `broken-object` where the bytes are none. `name` is for messages."""
        self.name = name
        self._data = data  # libbpf reads from it until the object is loaded
        options = OpenOptions(sz=ctypes.sizeof(OpenOptions), object_name=name.encode())
        self._logs: dict[str, mmap.mmap] = {}
        with messages() as said:
            self._object = library().bpf_object__open_mem(data, len(data), ctypes.byref(options))
        if not self._object:
            code = ctypes.get_errno()
            if code == errno.ENOMEM:
                raise problem_from_errno(OSError(code, ""), f"open object `{name}`")
            raise RuntimeProblem(
                "broken-object", f"`{name}` is not a BPF object", "build it again", errno=code, log="\n".join(said)
            )
        self._programs = {library().bpf_program__name(p).decode(): p for p in self._walk("bpf_object__next_program")}
        self._maps = {library().bpf_map__name(m).decode(): m for m in self._walk("bpf_object__next_map")}

    def _walk(self, function: str) -> Iterator[int]:
        found: int | None = None
        while found := getattr(library(), function)(self._object, found):
            yield found

    def close(self) -> None:
        """Closes it and its descriptors; harmless a second time."""
        opened, self._object = self._object, None
        if opened:
            library().bpf_object__close(opened)
        self._programs, self._maps = {}, {}
        for log in self._logs.values():
            log.close()
        self._logs = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- before load

    @property
    def program_names(self) -> tuple[str, ...]:
        """The names of its programs, in the order of the file."""
        return tuple(self._programs)

    @property
    def declared_maps(self) -> tuple[DeclaredMap, ...]:
        """The maps that it declares and those the compiler added (`.rodata` is called after the object, `.rodata.x` as it is)."""
        lib = library()
        return tuple(
            DeclaredMap(
                name,
                lib.bpf_map__type(m),
                lib.bpf_map__key_size(m),
                lib.bpf_map__value_size(m),
                lib.bpf_map__max_entries(m),
                lib.bpf_map__is_internal(m),
            )
            for name, m in self._maps.items()
        )

    def _map(self, name: str) -> int:
        if name not in self._maps:
            raise RuntimeProblem("object-without-map", f"object `{self.name}` declares no map `{name}`", "build it again")
        return self._maps[name]

    def _program(self, name: str) -> int:
        if name not in self._programs:
            raise RuntimeProblem("object-without-program", f"object `{self.name}` has no program `{name}`", "build it again")
        return self._programs[name]

    def use_map(self, name: str, fd: int) -> None:
        """Has the programs use this map in place of the one declared under `name`. The descriptor stays the caller's.

        Type and key size must be those declared, and, but for arrays, the value size: a frozen array of rules may have any.
        """
        lib, declared, given = library(), self._map(name), map_facts(fd)
        if lib.bpf_map__is_internal(declared):
            # libbpf would unmap as many bytes as the new map has, more than it mapped, when the object is closed.
            raise ValueError(f"map {name} belongs to the compiler: set its value instead")
        wanted = (lib.bpf_map__type(declared), lib.bpf_map__key_size(declared), lib.bpf_map__value_size(declared))
        has = (given.type, given.key_size, given.value_size)
        if wanted[:2] != has[:2] or (wanted[2] != has[2] and given.type != MapType.ARRAY):
            text = f"map `{name}` of object `{self.name}` has another shape: type, key and value size {has}, not {wanted}"
            raise RuntimeProblem("map-shape", text)
        with messages() as said:
            result = lib.bpf_map__reuse_fd(declared, fd)
        if result:
            problem = problem_from_errno(OSError(-result, ""), f"use map `{name}` in `{self.name}`")
            problem.log = "\n".join(said)
            raise problem

    def resize_map(self, name: str, entries: int) -> None:
        """Has `load` create a declared map with another number of entries."""
        if code := library().bpf_map__set_max_entries(self._map(name), entries):
            raise problem_from_errno(OSError(-code, ""), f"resize map `{name}`")

    def value(self, section: str) -> bytes:
        """The initial value of a section such as `.rodata.config`."""
        size = ctypes.c_size_t()
        address = library().bpf_map__initial_value(self._map(section), ctypes.byref(size))
        if not address:
            raise ValueError(f"map {section} has no initial value")
        return ctypes.string_at(address, size.value)

    def set_value(self, section: str, value: bytes) -> None:
        """Sets the initial value of a section. ValueError unless it has just the section's size."""
        size = len(self.value(section))
        if len(value) != size:
            raise ValueError(f"section {section} of `{self.name}` has {size} bytes, not {len(value)}")
        if code := library().bpf_map__set_initial_value(self._map(section), value, len(value)):
            raise problem_from_errno(OSError(-code, ""), f"set `{section}` of `{self.name}`")

    def load_only(self, names: Collection[str]) -> None:
        """Has `load` leave out every other program."""
        for name in names:
            self._program(name)
        for name, program in self._programs.items():
            library().bpf_program__set_autoload(program, name in names)

    # ---- load, and after

    def load(self) -> None:
        """Loads the programs and creates the maps that were not given. All or nothing.

        RuntimeProblem `verifier-refused` carries the verifier's log and what it means; others are named after the errno. libbpf
        loads without a log first (four times faster), and once more with it where that failed.
        """
        lib = library()
        for name, program in self._programs.items():
            log = self._logs[name] = mmap.mmap(-1, _LOG_SIZE)
            lib.bpf_program__set_log_buf(program, ctypes.addressof(ctypes.c_char.from_buffer(log)), len(log))
        with messages() as said:
            result = lib.bpf_object__load(self._object)
        if result:
            raise self._refusal(-result, said)

    def _refusal(self, code: int, said: list[str]) -> RuntimeProblem:
        for name, log in self._logs.items():
            text = log[: log.find(b"\0")].decode(errors="replace")
            if not text.strip():
                continue
            refusal = read_verifier_log(text, name)
            message = f"the kernel's verifier refuses `{name}`: {refusal.reason}"
            return RuntimeProblem("verifier-refused", message, errno=code, log=text, refusal=refusal)
        if code >= _LIBBPF_ERRNO_START:
            return RuntimeProblem(
                "broken-object", f"libbpf refuses `{self.name}`", "build it again", errno=code, log="\n".join(said)
            )
        problem = problem_from_errno(OSError(code, ""), f"load `{self.name}`")
        problem.log = "\n".join(said)
        return problem

    def program_fd(self, name: str) -> int:
        """The descriptor of a loaded program, lent until `close`."""
        fd: int = library().bpf_program__fd(self._program(name))
        if fd < 0:
            raise ValueError(f"program {name} is not loaded")
        return fd

    def map_fd(self, name: str) -> int:
        """The descriptor of a map in use, lent until `close`."""
        fd: int = library().bpf_map__fd(self._map(name))
        if fd < 0:
            raise ValueError(f"map {name} does not exist yet")
        return fd

    def take_program(self, name: str) -> Program:
        """A loaded program as the caller's own."""
        return Program(duplicate(self.program_fd(name)))

    def take_map(self, name: str) -> KernelMap:
        """A map in use as the caller's own."""
        return KernelMap(duplicate(self.map_fd(name)))


def load_program(
    data: bytes, *, maps: Mapping[str, int] | None = None, values: Mapping[str, bytes] | None = None, name: str = "object"
) -> Program:
    """Loads an object of one program, with these maps (by descriptor, lent) and values of sections; the caller owns the program.

    Raises what `ObjectFile` raises. A map named here that the object does not declare is a mistake, and told.
    """
    with ObjectFile(data, name) as opened:
        for map_name, fd in (maps or {}).items():
            opened.use_map(map_name, fd)
        for section, value in (values or {}).items():
            opened.set_value(section, value)
        if len(opened.program_names) != 1:
            raise RuntimeProblem("broken-object", f"`{name}` has {len(opened.program_names)} programs, not one", "build it again")
        opened.load()
        return opened.take_program(opened.program_names[0])
