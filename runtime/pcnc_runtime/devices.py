"""Network devices: what has to be known of one before a program goes on it.

Asked by ioctl(2) in the network namespace of the calling thread: cheap, and without netlink.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

from pcnc_runtime.errors import RuntimeProblem

_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFHWADDR, _SIOCETHTOOL = 0x8913, 0x8921, 0x8927, 0x8946
_ETHTOOL_GDRVINFO = 0x3
_DRIVER_INFO_SIZE = 196  # struct ethtool_drvinfo; the driver's name is bytes 4 to 36
_IFF_UP = 1
_ETHERNET = (1, 772)  # ARPHRD_ETHER, and ARPHRD_LOOPBACK, whose frames have an Ethernet header as well


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device. `mtu` in bytes, without the Ethernet header; `driver` is empty where it does not say."""

    index: int
    name: str
    has_ethernet: bool
    is_up: bool
    mtu: int
    driver: str

    @property
    def leaves_checksums_unfinished(self) -> bool:
        """Whether XDP may meet frames of local sockets here whose transport checksum covers the pseudo-header only.

        So it is on veth while the other end offloads checksums (`ethtool -K PEER tx off` ends it): a program that changes an
        address or port in such a frame cannot mend its checksum, and nobody finishes it after a redirect.
        """
        return self.driver == "veth"


def no_such_device(device: str | int) -> RuntimeProblem:
    """The problem `no-such-device`."""
    help = "`ip link` lists the devices of this network namespace"
    return RuntimeProblem("no-such-device", f"there is no device `{device}`", help, errno=errno.ENODEV)


def device_index(device: str | int) -> int:
    """The index of a device. RuntimeProblem `no-such-device`."""
    try:
        if isinstance(device, str):
            return socket.if_nametoindex(device)
        socket.if_indextoname(device)
        return device
    except (OSError, ValueError, OverflowError):
        raise no_such_device(device) from None


def device_facts(device: str | int) -> DeviceFacts:
    """What a device is. RuntimeProblem `no-such-device`."""
    index = device_index(device)
    try:
        name = socket.if_indextoname(index)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            (flags,) = struct.unpack_from("=H", _ask(control, _SIOCGIFFLAGS, name), 16)
            (mtu,) = struct.unpack_from("=i", _ask(control, _SIOCGIFMTU, name), 16)
            (hardware,) = struct.unpack_from("=H", _ask(control, _SIOCGIFHWADDR, name), 16)
            driver = _driver(control, name)
    except OSError:
        raise no_such_device(device) from None
    return DeviceFacts(index, name, hardware in _ETHERNET, bool(flags & _IFF_UP), mtu, driver)


def _ask(control: socket.socket, request: int, name: str) -> bytes:
    return fcntl.ioctl(control, request, struct.pack("40s", name.encode()))


def _driver(control: socket.socket, name: str) -> str:
    answer = ctypes.create_string_buffer(struct.pack("=I", _ETHTOOL_GDRVINFO), _DRIVER_INFO_SIZE)
    try:
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(answer)))
    except OSError:
        return ""
    return answer.raw[4:36].partition(b"\0")[0].decode(errors="replace")
