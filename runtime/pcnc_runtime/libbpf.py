"""The functions of libbpf.so.1 that the runtime calls, bound with ctypes on first use.

Nothing here decides anything: names, argument types, the structures of <linux/bpf.h>, and the conversion of libbpf's
negative return values into OSError. libbpf 1.1 (2022-12) is the oldest that will do.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache

from pcnc_runtime.errors import RuntimeProblem

MINIMUM_VERSION = (1, 1)
_PrintFunction = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_WARNING = 0


class MapInfo(Structure):
    """`struct bpf_map_info` up to `btf_value_type_id`."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("padding", c_uint32),
        ("map_extra", c_uint64),
    ]


class ProgramInfo(Structure):
    """`struct bpf_prog_info` up to `attach_btf_id`."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
        ("padding", c_uint32),
    ]


class MapCreateOptions(Structure):
    """`struct bpf_map_create_opts`."""

    _fields_ = [
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
        ("numa_node", c_uint32),
        ("map_ifindex", c_uint32),
    ]


class BatchOptions(Structure):
    """`struct bpf_map_batch_opts`."""

    _fields_ = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


class TestRunOptions(Structure):
    """`struct bpf_test_run_opts`."""

    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


class LoadOptions(Structure):
    """`struct bpf_prog_load_opts` up to `expected_attach_type`."""

    _fields_ = [("sz", c_size_t), ("attempts", c_int), ("expected_attach_type", c_uint32)]


class OpenOptions(Structure):
    """`struct bpf_object_open_opts` up to `kernel_log_level`."""

    _fields_ = [
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("reserved", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    ]


class XdpQueryOptions(Structure):
    """`struct bpf_xdp_query_opts` up to `attach_mode` (libbpf 0.7)."""

    _fields_ = [
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_uint8),
    ]


class TcHook(Structure):
    """`struct bpf_tc_hook`."""

    _fields_ = [("sz", c_size_t), ("ifindex", c_int), ("attach_point", c_int), ("parent", c_uint32)]


class TcOptions(Structure):
    """`struct bpf_tc_opts`."""

    _fields_ = [
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    ]


_Data = c_void_p
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "libbpf_set_print": (c_void_p, (_PrintFunction,)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_probe_bpf_helper": (c_int, (c_int, c_int, c_void_p)),
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOptions))),
    "bpf_map_lookup_elem": (c_int, (c_int, _Data, _Data)),
    "bpf_map_update_elem": (c_int, (c_int, _Data, _Data, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, _Data)),
    "bpf_map_get_next_key": (c_int, (c_int, _Data, _Data)),
    "bpf_map_update_batch": (c_int, (c_int, _Data, _Data, POINTER(c_uint32), POINTER(BatchOptions))),
    "bpf_map_delete_batch": (c_int, (c_int, _Data, POINTER(c_uint32), POINTER(BatchOptions))),
    "bpf_map_lookup_batch": (c_int, (c_int, _Data, _Data, _Data, _Data, POINTER(c_uint32), POINTER(BatchOptions))),
    "bpf_map_freeze": (c_int, (c_int,)),
    "bpf_map_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p)),
    "bpf_btf_load": (c_int, (c_void_p, c_size_t, c_void_p)),
    "bpf_prog_test_run_opts": (c_int, (c_int, POINTER(TestRunOptions))),
    "bpf_object__open_mem": (c_void_p, (c_void_p, c_size_t, POINTER(OpenOptions))),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__type": (c_int, (c_void_p,)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_program__set_log_buf": (c_int, (c_void_p, c_void_p, c_size_t)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__type": (c_int, (c_void_p,)),
    "bpf_map__key_size": (c_uint32, (c_void_p,)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__is_internal": (c_bool, (c_void_p,)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "bpf_map__set_initial_value": (c_int, (c_void_p, c_void_p, c_size_t)),
    "bpf_prog_query": (c_int, (c_int, c_int, c_uint32, POINTER(c_uint32), POINTER(c_uint32), POINTER(c_uint32))),
    "bpf_xdp_query": (c_int, (c_int, c_int, POINTER(XdpQueryOptions))),
    "bpf_tc_query": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
}


class _Messages(threading.local):
    lines: list[str] | None = None


_messages = _Messages()


@cache
def library() -> CDLL:
    """libbpf, every function in use typed. Raises RuntimeProblem `no-libbpf` where it is absent or too old."""
    try:
        found = CDLL(os.environ.get("PCNC_LIBBPF") or "libbpf.so.1", use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(found, name)
            function.restype, function.argtypes = result, arguments
        version = (found.libbpf_major_version(), found.libbpf_minor_version())
    except (OSError, AttributeError) as error:
        raise RuntimeProblem("no-libbpf", f"cannot load libbpf: {error}", _INSTALL) from None
    if version < MINIMUM_VERSION:
        text = f"libbpf {version[0]}.{version[1]} is too old: {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} is the oldest that will do"
        raise RuntimeProblem("no-libbpf", text, _INSTALL)
    found.libbpf_set_print(_print)
    return found


_INSTALL = "install libbpf (Debian: apt-get install libbpf1)"


def _collect(level: int, template: bytes, arguments: int) -> int:
    if _messages.lines is None or level != _WARNING:
        return 0
    text = ctypes.create_string_buffer(1024)
    # A va_list is passed on as the pointer that it arrives as (x86-64, AArch64, RISC-V: all by reference or one word).
    ctypes.CDLL(None).vsnprintf(text, c_size_t(len(text)), c_char_p(template), c_void_p(arguments))
    _messages.lines.append(text.value.decode(errors="replace").strip())
    return 0


_print = _PrintFunction(_collect)


@contextmanager
def messages() -> Iterator[list[str]]:
    """Collects the warnings that libbpf would print, of this thread, while the block runs."""
    before, _messages.lines = _messages.lines, []
    try:
        yield _messages.lines
    finally:
        _messages.lines = before


def checked(result: int) -> int:
    """`result` where it is not negative; OSError with its errno where it is (libbpf 1.x returns -errno)."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


@cache
def possible_cpus() -> int:
    """How many values a per-CPU map has for each key."""
    return checked(library().libbpf_num_possible_cpus())
