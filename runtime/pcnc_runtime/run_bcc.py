"""A program of its own that compiles with BCC: C texts in, objects out, both as lines of JSON. It needs nothing but Python.

BCC holds clang and LLVM as libraries. That LLVM ends the process over what it refuses, prints to standard error, and keeps a
hundred megabytes: so it does not run in the process of whoever wants an object. Here each text is compiled in two children.

1. BCC parses and optimises the text, and prints what came of it as LLVM's language. Its own way on from there, into the memory of
   this process, knows neither `.maps` nor sections nor BTF that others could load.
2. The same LLVM writes that as an object, through its C interface: what clang does with it, too.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_size_t, c_uint, c_ulong, c_void_p
from pathlib import Path
from typing import Any

_DEBUG_LLVM_IR = 1  # bcc/__init__.py: print the module
_MAIN = b"; ModuleID = '/virtual/main.c'"
_LICENSE_OF_BCC = b"_license"  # what BCC writes behind every text
# What BCC puts before every text is for those who trace; these names, which it defines itself, leave it out.
_LEFT_OUT = ("__BPF_HELPERS_H", "_UAPI__LINUX_BPF_H__", "__BCC_PROTO_H")
_OBJECT_FILE, _OPTIMISED, _RELOCATABLE, _ANY_CODE = 1, 2, 2, 0  # llvm-c/TargetMachine.h
_CLONE_NEWNS, _CLONE_NEWUSER, _MS_BIND = 0x20000, 0x10000000, 0x1000
_PR_SET_PDEATHSIG = 1

_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bpf_module_create_c_from_string": (c_void_p, (c_char_p, c_uint, POINTER(c_char_p), c_int, c_bool, c_char_p)),
    "LLVMContextCreate": (c_void_p, ()),
    "LLVMCreateMemoryBufferWithMemoryRangeCopy": (c_void_p, (c_char_p, c_size_t, c_char_p)),
    "LLVMParseIRInContext": (c_int, (c_void_p, c_void_p, POINTER(c_void_p), POINTER(c_char_p))),
    "LLVMGetNamedGlobal": (c_void_p, (c_void_p, c_char_p)),
    "LLVMDeleteGlobal": (None, (c_void_p,)),
    "LLVMSetTarget": (None, (c_void_p, c_char_p)),
    "LLVMGetTargetFromTriple": (c_int, (c_char_p, POINTER(c_void_p), POINTER(c_char_p))),
    "LLVMCreateTargetMachine": (c_void_p, (c_void_p, c_char_p, c_char_p, c_char_p, c_int, c_int, c_int)),
    "LLVMTargetMachineEmitToMemoryBuffer": (c_int, (c_void_p, c_void_p, c_int, POINTER(c_char_p), POINTER(c_void_p))),
    "LLVMGetBufferStart": (c_void_p, (c_void_p,)),
    "LLVMGetBufferSize": (c_size_t, (c_void_p,)),
    **{f"LLVMInitializeBPF{part}": (None, ()) for part in ("TargetInfo", "Target", "TargetMC", "AsmPrinter", "AsmParser")},
}


def main() -> int:
    """Reads `{"library", "cpu", "flags", "folder"}`, then a `{"text", "files"}` a line; answers each with a line.

    `{"object"}` (base64) or `{"refused"}` with the words of BCC. Before these comes `{"cannot"}` with a reason, empty where it can.
    """
    asked = json.loads(sys.stdin.readline())
    try:
        library = _library(asked["library"])
    except (OSError, AttributeError) as error:
        return _answer({"cannot": str(error)})
    _answer({"cannot": ""})
    _hide_kernel_symbols()
    for line in sys.stdin:
        each = json.loads(line)
        with tempfile.TemporaryDirectory(dir=asked["folder"]) as folder:
            _answer(_compile(library, Path(folder), each["text"], each["files"], asked["flags"], asked["cpu"]))
    return 0


def _answer(what: Mapping[str, Any]) -> int:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()
    return 0


def _library(path: str) -> ctypes.CDLL:
    """BCC with the LLVM that it is bound to. OSError, AttributeError: where that is built into it, it shows nobody."""
    found = ctypes.CDLL(path)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def _hide_kernel_symbols() -> None:
    """Lets BCC find no symbols of the running kernel, where that is allowed.

    It reads them all for each text, to know which helpers a tracer may call, and that takes longer than all the rest.
    """
    libc = ctypes.CDLL(None)
    # Mounts of a namespace that another user owns, as this one counts, never get out of it.
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) == 0:
        libc.mount(b"/dev/null", b"/proc/kallsyms", None, c_ulong(_MS_BIND), None)


def _compile(
    library: ctypes.CDLL, folder: Path, text: str, files: Mapping[str, str], flags: Sequence[str], cpu: str
) -> dict[str, Any]:
    sources, kernel = folder / "sources", folder / "kernel"
    sources.mkdir()
    for name, content in files.items():
        with suppress(OSError):  # a name that no file can have: its lines are not quoted
            (sources / name).write_text(content)
    # BCC includes this from the headers of the running kernel, and nothing of ours needs them.
    (kernel / "include" / "linux").mkdir(parents=True)
    (kernel / "include" / "linux" / "kconfig.h").touch()
    os.environ["BCC_KERNEL_SOURCE"] = str(kernel)
    # What is included is left as it is; what stands in the text that BCC is given it would rewrite.
    (folder / "included.c").write_text(f'#define BCC_SEC(name)\n# 1 "<stdin>"\n{text}')
    given = [*flags, *(f"-D{name}" for name in _LEFT_OUT), "-include", str(folder / "included.c")]
    module, refusal = _in_child(folder, sources, lambda: _print_module(library, given))
    if refusal is None:
        made, refusal = _in_child(folder, sources, lambda: _write_object(library, module, cpu.encode()))
    return {"refused": refusal} if refusal is not None else {"object": base64.b64encode(made).decode()}


def _in_child(folder: Path, inside: Path, run: Callable[[], bool]) -> tuple[bytes, str | None]:
    """What a function writes to standard output in a process of its own, and if it fails what it says there."""
    with tempfile.TemporaryFile(dir=folder) as output, tempfile.TemporaryFile(dir=folder) as words:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, c_ulong(signal.SIGKILL))
                os.chdir(inside)
                os.dup2(output.fileno(), 1)
                os.dup2(words.fileno(), 2)
                status = 0 if run() else 1
            finally:
                # Python's own output is the parent's to write; what LLVM has not written yet it writes at the process's end.
                ctypes.CDLL(None).exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output.seek(0)
        words.seek(0)
        written, said = output.read(), words.read().decode(errors="replace")
    if ended == 0:
        return written, None
    return b"", said if ended > 0 else f"{said}\nBCC was ended by signal {signal.Signals(-ended).name}\n".lstrip()


def _print_module(library: ctypes.CDLL, flags: Sequence[str]) -> bool:
    array = (c_char_p * len(flags))(*(flag.encode() for flag in flags))
    return bool(library.bpf_module_create_c_from_string(b"\n", _DEBUG_LLVM_IR, array, len(flags), False, None))


def _write_object(library: ctypes.CDLL, printed: bytes, cpu: bytes) -> bool:
    """Parses a module and writes its object to standard output."""
    said = c_char_p()
    begin = printed.find(_MAIN)
    if begin < 0:
        return _complain("BCC printed no module")
    text = printed[begin:]
    for part in ("TargetInfo", "Target", "TargetMC", "AsmPrinter", "AsmParser"):
        getattr(library, f"LLVMInitializeBPF{part}")()
    module, target, made = c_void_p(), c_void_p(), c_void_p()
    buffer = library.LLVMCreateMemoryBufferWithMemoryRangeCopy(text, len(text), b"main")
    if library.LLVMParseIRInContext(library.LLVMContextCreate(), buffer, byref(module), byref(said)):
        return _complain(said.value)
    if license := library.LLVMGetNamedGlobal(module, _LICENSE_OF_BCC):
        library.LLVMDeleteGlobal(license)
    if library.LLVMGetTargetFromTriple(b"bpf", byref(target), byref(said)):
        return _complain(said.value)
    machine = library.LLVMCreateTargetMachine(target, b"bpf", cpu, b"", _OPTIMISED, _RELOCATABLE, _ANY_CODE)
    library.LLVMSetTarget(module, b"bpf")
    if library.LLVMTargetMachineEmitToMemoryBuffer(machine, module, _OBJECT_FILE, byref(said), byref(made)):
        return _complain(said.value)
    content = ctypes.string_at(library.LLVMGetBufferStart(made), library.LLVMGetBufferSize(made))
    with os.fdopen(os.dup(1), "wb") as output:
        output.write(content)
    return True


def _complain(words: str | bytes | None) -> bool:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words or ""
    os.write(2, f"error: {text}\n".encode())
    return False


if __name__ == "__main__":
    sys.exit(main())
