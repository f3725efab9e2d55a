"""The usual way to put another XDP program on a device: bpf_link_update(2). What a flip is measured against."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Self

from bench.lab import Namespace
from pcnc_runtime.build import compile_source
from pcnc_runtime.libbpf import checked, library
from pcnc_runtime.objects import ObjectFile

_SOURCE = Path(__file__).with_name("replace_link.bpf.c")
_BPF_XDP = 37  # enum bpf_attach_type


class LinkedProgram:
    """A link that holds an XDP program on a device: first the one that marks packets with 1, then whichever `replace` says."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        self._object = ObjectFile(compile_source(_SOURCE.read_text(), name="replace_link"), "replace_link")
        try:
            self._object.load()
            create = library().bpf_link_create
            create.restype, create.argtypes = ctypes.c_int, (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
            self._update = library().bpf_link_update
            self._update.restype, self._update.argtypes = ctypes.c_int, (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
            with namespace.entered():
                self._link = checked(create(self._object.program_fd("first"), namespace.index(device), _BPF_XDP, None))
        except BaseException:
            self._object.close()
            raise

    def replace(self, mark: int) -> None:
        """Puts the program that marks with 1 or 2 in place of the other; returns when the kernel does."""
        checked(self._update(self._link, self._object.program_fd({1: "first", 2: "second"}[mark]), None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._link)
        self._object.close()
