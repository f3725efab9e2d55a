"""Packets from capture files, pcap and pcapng, and into pcap files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pcnc_runtime.errors import RuntimeProblem

ETHERNET = 1
"""LINKTYPE_ETHERNET of pcap-linktype(7)."""
_LONGEST_READ = 1 << 28
_SNAPLEN = 262144


class Capture:
    """A capture file; iterating gives its packets with their times (seconds since the epoch), each once.

    RuntimeProblem `not-a-capture`, `not-ethernet`, and from the iteration `damaged-capture`.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        import dpkt

        self._name = name
        self._file = _WholeReads(file)
        try:
            self._reader = dpkt.pcap.UniversalReader(self._file)
        except (ValueError, dpkt.UnpackError, _Damaged):
            raise RuntimeProblem("not-a-capture", f"{name} is neither a pcap nor a pcapng file") from None
        if self._reader.datalink() != ETHERNET:
            text = f"{name} holds no Ethernet frames: its link type is {self._reader.datalink()}, and Ethernet's is {ETHERNET}"
            raise RuntimeProblem("not-ethernet", text, "capture on an Ethernet device, for example not on `any`")
        self.snap_length = int(self._reader.snaplen)
        """The longest stretch of a packet that was captured, in bytes; a packet of that length may have been cut."""

    @property
    def position(self) -> int:
        """How many bytes of the file were read."""
        return self._file.position

    def __iter__(self) -> Iterator[tuple[Any, bytes]]:
        import dpkt

        packets = iter(self._reader)
        number = 0
        while True:
            self._file.at_boundary = True
            try:
                time, frame = next(packets)
            except StopIteration:
                break
            except (_Damaged, ValueError, dpkt.UnpackError):
                text = f"{self._name} is cut off or damaged behind packet {number}"
                raise RuntimeProblem("damaged-capture", text, "nothing was written") from None
            number += 1
            yield time, bytes(frame)


class _Damaged(Exception):
    pass


class _WholeReads:
    """A file of which a read gives all that was asked for, or nothing between two packets. dpkt would take what it gets."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.position = 0
        self.at_boundary = False

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise _Damaged
        content = self._file.read(size)
        self.position += len(content)
        if len(content) != size and (content or not self.at_boundary):
            raise _Damaged
        self.at_boundary = False
        return content

    def seek(self, offset: int) -> None:
        self._file.seek(offset)
        self.position = offset


@contextmanager
def open_capture(path: Path) -> Iterator[Capture]:
    """Opens a capture for reading. OSError, and the problems of `Capture`."""
    with open(path, "rb") as file:
        yield Capture(file, str(path))


@contextmanager
def new_capture(path: Path) -> Iterator[Callable[[bytes, Any], None]]:
    """Writes a pcap file, with times to the microsecond, whole or not at all; gives what adds a packet with its time."""
    import dpkt

    if path.is_dir():
        raise IsADirectoryError(21, os.strerror(21), str(path))
    if path.exists() and not path.is_file():
        # A pipe or a device is written to as it is.
        with open(path, "wb") as file:
            yield dpkt.pcap.Writer(file, snaplen=_SNAPLEN).writepkt
        return
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield dpkt.pcap.Writer(file, snaplen=_SNAPLEN).writepkt
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
