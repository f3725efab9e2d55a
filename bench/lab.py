"""Network namespaces and veth pairs that live for one run: made, wired and, whatever happens, removed.

    with Lab() as lab:
        client, server = lab.namespace("client"), lab.namespace("server")
        lab.veth(client, "eth0", server, "eth0")
        client.run("ip", "addr", "add", "10.0.0.1/24", "dev", "eth0")
        with server.entered():
            attach_xdp("eth0", program.fd)

Names carry the process id, so that several runs do not meet; what a run that was killed left behind, the next one removes.
Needs root and `ip`. Nothing here touches a device outside of the namespaces it made.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FOLDER = Path("/run/netns")
_OURS = re.compile(r"pcnc-(\d+)-\d+-[a-z0-9_]+")
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL, _ETHTOOL_STXCSUM, _ETHTOOL_SGRO = 0x8946, 0x17, 0x2C
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace. `path` can be opened, and handed to setns(2) or `nsenter --net=`."""

    name: str

    @property
    def path(self) -> Path:
        """The file that stands for it."""
        return _FOLDER / self.name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Puts the calling thread into it, and back. bpffs stays in sight, which `ip netns exec` would hide."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.path)
            try:
                yield
            finally:
                _setns(before)
        finally:
            os.close(before)

    def command(self, *arguments: str) -> list[str]:
        """A command line that runs another within it."""
        return ["nsenter", f"--net={self.path}", *arguments]

    def run(self, *arguments: str) -> str:
        """Runs a command within it and returns what it wrote. RuntimeError, with its words, where it fails."""
        return _run(self.command(*arguments))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command within it, its output piped, and returns at once; the caller ends it."""
        return subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def set(self, key: str, value: int) -> None:
        """Sets a sysctl of the namespace: `set("net/ipv4/ip_forward", 1)`."""
        with self.entered():
            Path("/proc/sys", key).write_text(str(value))

    def index(self, device: str) -> int:
        """The index of a device within it."""
        with self.entered():
            return socket.if_nametoindex(device)

    def mac(self, device: str) -> bytes:
        """The six bytes of a device's address."""
        found = re.search(r"link/ether ([0-9a-f:]{17})", _run(["ip", "-n", self.name, "link", "show", "dev", device]))
        if found is None:
            raise RuntimeError(f"{device} has no Ethernet address")
        return bytes.fromhex(found[1].replace(":", ""))


class Lab:
    """The namespaces of one run."""

    def __init__(self) -> None:
        self._namespaces: list[Namespace] = []
        sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes every namespace, and with it its devices."""
        while self._namespaces:
            subprocess.run(["ip", "netns", "del", self._namespaces.pop().name], capture_output=True, check=False)

    def namespace(self, role: str) -> Namespace:
        """A new namespace with only the loopback device, up. `role` (a word) is part of its name."""
        made = Namespace(f"pcnc-{os.getpid()}-{next(_numbers)}-{role}")
        if not _OURS.fullmatch(made.name):
            raise ValueError(f"a role is a word of small letters, digits and underscores, not {role!r}")
        _run(["ip", "netns", "add", made.name])
        self._namespaces.append(made)
        _run(["ip", "-n", made.name, "link", "set", "lo", "up"])
        return made

    def veth(
        self,
        left: Namespace,
        left_device: str,
        right: Namespace,
        right_device: str,
        *,
        ipv6: bool = False,
        checksum_offload: bool = False,
        gro: bool = False,
        queues: int = 1,
    ) -> None:
        """Joins two namespaces by a veth pair, both ends up and silent: no address, no router solicitation, no duplicate check.

        Without `ipv6` the devices know no IPv6 at all. Without `checksum_offload` the frames of local sockets leave with
        their checksums filled in, as XDP on the other end must see them; veth would otherwise leave that to nobody. With
        `gro` the ends take XDP frames (`bench.traffic`'s) while they carry no XDP program; TCP segments may come joined.
        """
        pair = ["type", "veth", "peer", "name", right_device, "numtxqueues", str(queues), "numrxqueues", str(queues)]
        sizes = ["numtxqueues", str(queues), "numrxqueues", str(queues)]
        _run(["ip", "-n", left.name, "link", "add", left_device, *sizes, *pair, "netns", right.name])
        for namespace, device in ((left, left_device), (right, right_device)):
            with namespace.entered():
                for key, value in (("accept_ra", 0), ("accept_dad", 0), ("disable_ipv6", int(not ipv6))):
                    setting = Path("/proc/sys/net/ipv6/conf", device, key)
                    if setting.exists():
                        setting.write_text(str(value))
                if not checksum_offload:
                    switch_checksum_offload_off(device)
                if gro:
                    _set_feature(device, _ETHTOOL_SGRO, 1)
            _run(["ip", "-n", namespace.name, "link", "set", device, "addrgenmode", "none", "up"])


def switch_checksum_offload_off(device: str) -> None:
    """What `ethtool -K DEVICE tx off` does, to a device in the calling thread's namespace."""
    _set_feature(device, _ETHTOOL_STXCSUM, 0)


def _set_feature(device: str, command: int, enabled: int) -> None:
    value = ctypes.create_string_buffer(struct.pack("=II", command, enabled))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request.ljust(40, b"\0"))


def enter(path: Path) -> None:
    """Puts the calling thread into the namespace that a file stands for, for good."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def sweep() -> None:
    """Removes the namespaces of runs that are over without having removed them."""
    for name in os.listdir(_FOLDER) if _FOLDER.is_dir() else ():
        ours = _OURS.fullmatch(name)
        if ours and not Path("/proc", ours[1]).exists():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
