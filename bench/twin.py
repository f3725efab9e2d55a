"""The firewall written by hand (`twin.bpf.c`), loaded and filled with rules: what the compiled one is measured against."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

from pcnc_runtime.build import compile_source
from pcnc_runtime.objects import ObjectFile

XDP_DROP = 1
XDP_PASS = 2

_SOURCE = Path(__file__).with_name("twin.bpf.c")


class Twin:
    """The hand-written programs `empty`, `by_source`, `by_destination` and `by_both`, in the kernel until the end of the `with`."""

    def __init__(self) -> None:
        """Compiles and loads them. RuntimeProblem where that is refused."""
        self._object = ObjectFile(compile_source(_SOURCE.read_text(), name=_SOURCE.name), "twin")
        try:
            self._object.load()
        except BaseException:
            self._object.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._object.close()

    def program(self, name: str) -> int:
        """A program's descriptor, lent."""
        return self._object.program_fd(name)

    def add_rules(self, table: str, prefixes: Iterable[IPv4Network], verdict: int = XDP_DROP) -> None:
        """Gives packets whose address in `table` (`sources`, `destinations`) lies in one of the prefixes this verdict."""
        entries = [network.prefixlen.to_bytes(4, sys.byteorder) + network.network_address.packed for network in prefixes]
        with self._object.take_map(table) as rules:
            rules.update_batch(b"".join(entries), verdict.to_bytes(4, sys.byteorder) * len(entries), len(entries))

    def counted(self, verdict: int) -> int:
        """How many packets left by this verdict, all programs together."""
        with self._object.take_map("verdicts") as verdicts:
            (packets,) = verdicts.sum_per_cpu(verdict) or (0,)
        return packets
