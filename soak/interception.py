"""Stopping a process before a system call: to look, to kill it there, to let the call fail, or to let it go on.

A seccomp filter sends the system calls that are wanted to a listener (seccomp_unotify(2)), and the process stands still until
the listener answers. A process that is killed there has not made the call: everything before it is done, nothing of it is. So
the kill before each call in turn, and one run to the end, leave no state of the system untried that a kill can leave behind.

Against strace's fault injection it counts calls of all kinds in one row, tells a call's arguments before the choice, and is
cheap enough for thousands of runs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

_NUMBERS = {
    "write": 1, "open": 2, "pwrite64": 18, "writev": 20, "sendto": 44, "sendmsg": 46, "flock": 73, "fsync": 74, "fdatasync": 75,
    "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87,
    "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "mount": 165, "umount2": 166, "openat": 257,
    "mkdirat": 258, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "fallocate": 285,
    "pwritev": 296, "sendmmsg": 307, "renameat2": 316, "bpf": 321, "membarrier": 324, "copy_file_range": 326,
}  # fmt: skip
_NAMES = {number: name for name, number in _NUMBERS.items()}
_NEVER = (15, 60, 231)  # rt_sigreturn, exit, exit_group: there is nothing behind them
_SECCOMP, _PIDFD_GETFD = 317, 438
_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64

_BPF_COMMANDS = (
    "MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH "
    "PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID OBJ_GET_INFO_BY_FD PROG_QUERY "
    "RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY MAP_LOOKUP_AND_DELETE_ELEM MAP_FREEZE BTF_GET_NEXT_ID "
    "MAP_LOOKUP_BATCH MAP_LOOKUP_AND_DELETE_BATCH MAP_UPDATE_BATCH MAP_DELETE_BATCH LINK_CREATE LINK_UPDATE LINK_GET_FD_BY_ID "
    "LINK_GET_NEXT_ID ENABLE_STATS ITER_CREATE LINK_DETACH PROG_BIND_MAP TOKEN_CREATE"
).split()
_BPF_READS = frozenset(
    name
    for name in _BPF_COMMANDS
    if name.endswith(("_ID", "QUERY", "_GET", "INFO_BY_FD", "NEXT_KEY", "LOOKUP_ELEM", "LOOKUP_BATCH", "TEST_RUN"))
)
_CREATES = os.O_CREAT | os.O_TRUNC
_PATH_AT = {"openat": 1, "mkdirat": 1, "unlinkat": 1, "renameat": 3, "renameat2": 3, "linkat": 3, "symlinkat": 2, "fchmodat": 1}
_PATH_AT |= {"rename": 1, "link": 1, "symlink": 1}
_BY_PATH = {"open", "mkdir", "rmdir", "creat", "unlink", "chmod", "chown", "truncate", "mount", "umount2", *_PATH_AT}

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_NOTICE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_CONTINUE = 1
_NEW_LISTENER, _WAIT_KILLABLE = 8, 32
_RETURN_LISTEN, _RETURN_ALLOW = 0x7FC00000, 0x7FFF0000


@dataclass(frozen=True)
class Call:
    """A system call that a process is about to make. `pid` is the thread that makes it."""

    id: int
    pid: int
    number: int
    arguments: tuple[int, ...]

    @cached_property
    def name(self) -> str:
        """As in its manual page; the command of bpf(2) with it (`bpf MAP_CREATE`); a number where it has no name here."""
        name = _NAMES.get(self.number, f"call {self.number}")
        if name == "bpf":
            command = self.arguments[0]
            return f"bpf {_BPF_COMMANDS[command] if command < len(_BPF_COMMANDS) else command}"
        return name

    @property
    def kind(self) -> str:
        """The name without a command."""
        return self.name.partition(" ")[0]

    @cached_property
    def object(self) -> str:
        """The path that it is about, by name or by descriptor; empty where it is about none."""
        if self.kind in _BY_PATH:
            return self._text(self.arguments[_PATH_AT.get(self.kind, 0)])
        if self.kind in ("bpf", "membarrier") or self.number not in _NAMES:
            return ""
        with suppress(OSError):
            return os.readlink(f"/proc/{self.pid}/fd/{self.arguments[0]}")
        return ""

    def _text(self, address: int) -> str:
        with suppress(OSError), open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(256).partition(b"\0")[0].decode(errors="replace")
        return ""

    @cached_property
    def changes(self) -> bool:
        """Whether it changes something outside of the process: not what it prints, nor pipes and sockets within."""
        match self.kind:
            case "bpf":
                return self.name.partition(" ")[2] not in _BPF_READS
            case "open":
                return bool(self.arguments[1] & _CREATES)
            case "openat":
                return bool(self.arguments[2] & _CREATES)
            case "write" | "writev":
                return self.arguments[0] > 2 and self.object.startswith("/") and not self.object.startswith(("/proc/", "/dev/"))
            case "sendto" | "sendmsg" | "sendmmsg":
                return not self._is_within()
            case "membarrier":
                return False
            case _:
                return self.number in _NAMES

    def _is_within(self) -> bool:
        # Sockets within the process are pairs of AF_UNIX. (Of netlink there is a table, too, but without those not yet bound.)
        inode = self.object.partition("[")[2].rstrip("]")
        with suppress(OSError), open(f"/proc/{self.pid}/net/unix") as table:
            return any(inode in line.split() for line in table)
        return False

    def objects_held(self) -> Iterator[tuple[str, int]]:
        """The BPF objects whose descriptors the process holds: ("prog", 7), ("map", 9), ("link", 2), ("btf", 4)."""
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{self.pid}/fd"):
                with suppress(OSError):
                    if os.readlink(entry.path).startswith(("anon_inode:bpf", "anon_inode:btf")):
                        with open(f"/proc/{self.pid}/fdinfo/{entry.name}") as facts:
                            words = dict(line.split(":", 1) for line in facts if ":" in line)
                        yield from ((kind, int(words[f"{kind}_id"])) for kind in _KINDS if f"{kind}_id" in words)


_KINDS = ("map", "link", "prog", "btf")


class Listener:
    """Where the system calls of a watched process arrive. What is not answered stands still until `close`, and fails then."""

    def __init__(self, pid: int, fd: int) -> None:
        """Takes the listener over that a process is about to have as its descriptor `fd`: see `install_filter`."""
        self.fd = _taken_over(pid, fd)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)

    def calls(self, patience: float = 60.0) -> Iterator[Call]:
        """Every call, until the process has ended. TimeoutError where it does nothing for `patience` seconds."""
        while True:
            events = self._poll.poll(patience * 1000)
            if not events:
                raise TimeoutError(f"a command has done nothing for {patience:.0f} s")
            if not events[0][1] & select.POLLIN:
                return
            notice = bytearray(_NOTICE.size)
            try:
                fcntl.ioctl(self.fd, _RECEIVE, notice)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):  # it was killed meanwhile
                    continue
                raise
            id, pid, _, number, _, _, *arguments = _NOTICE.unpack(notice)
            yield Call(id, pid, number, tuple(arguments))

    def allow(self, call: Call) -> None:
        """Lets it go on."""
        self._answer(call, 0, _CONTINUE)

    def fail(self, call: Call, code: int) -> None:
        """Makes it fail with an errno; nothing is done."""
        self._answer(call, -code, 0)

    def _answer(self, call: Call, error: int, flags: int) -> None:
        try:
            fcntl.ioctl(self.fd, _SEND, _ANSWER.pack(call.id, 0, error, flags))
        except OSError as failure:
            if failure.errno != errno.ENOENT:  # the process is gone
                raise

    def close(self) -> None:
        """Listens no more."""
        os.close(self.fd)


def _taken_over(pid: int, fd: int) -> int:
    # The process could not send it: whatever it does once there is a filter waits for the listener.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:seccomp notify":
                break
        time.sleep(0.0002)
    process = os.pidfd_open(pid)
    try:
        taken = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, fd, 0)
    finally:
        os.close(process)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return int(taken)


# ---- on the side of the process


def free_descriptor() -> int:
    """The number that the next descriptor of this process is going to have."""
    fd = os.dup(0)
    os.close(fd)
    return fd


def install_filter(*, all_calls: bool) -> None:
    """Has all calls of this process, or those that may change something, sent to a listener, from now on.

    The listener is its next descriptor (`free_descriptor`), which who watches takes over.
    """
    if os.uname().machine != "x86_64":
        raise RuntimeError("the numbers of system calls are known here for x86_64 alone")
    filter = _assembled(all_calls)
    # Kept until the call is over: the structure only points to it.
    code = ctypes.create_string_buffer(filter)
    program = struct.pack("=H6xQ", len(filter) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_SECCOMP, 1, _NEW_LISTENER | _WAIT_KILLABLE, ctypes.c_char_p(program))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _assembled(all_calls: bool) -> bytes:
    """The filter as classic BPF: loads are of `struct seccomp_data`."""
    load, equal, give = 0x20, 0x15, 0x06

    def instruction(code: int, value: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, jump_true, jump_false, value)

    parts = [
        instruction(load, 4),
        instruction(equal, _ARCHITECTURE, 1, 0),
        instruction(give, _RETURN_ALLOW),
        instruction(load, 0),
    ]
    listed, hit, miss = _NUMBERS.values(), _RETURN_LISTEN, _RETURN_ALLOW
    if all_calls:
        listed, hit, miss = _NEVER, _RETURN_ALLOW, _RETURN_LISTEN  # type: ignore[assignment]
    for number in listed:
        parts += [instruction(equal, number, 0, 1), instruction(give, hit)]
    parts.append(instruction(give, miss))
    return b"".join(parts)
