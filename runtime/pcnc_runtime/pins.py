"""Pins in bpffs: names by which maps and programs outlive the process, and by which the next command finds them.

bpffs is memory, gone with the machine. It holds directories and pins, no plain files; no name may contain a dot. A rename
works there, replaces a pin that has the new name, and is atomic.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.libbpf import checked, library
from pcnc_runtime.programs import Program

_USUAL = Path("/sys/fs/bpf")
_SELF = Path("/proc/self")


def bpffs() -> Path:
    """Where bpffs is mounted: $PCNC_BPFFS, else /sys/fs/bpf, mounted there if it is not yet.

    A process in a mount namespace of its own (`ip netns exec` makes one, and covers /sys) uses the bpffs of the namespace that
    it came from, by a path that lasts as long as the process it leads through: one mounted in a namespace that ends with the
    command would take the pins with it. RuntimeProblem `no-bpffs` where none can be had.
    """
    chosen = os.environ.get("PCNC_BPFFS")
    if chosen:
        if not _is_bpffs(Path(chosen), _SELF):
            raise RuntimeProblem("no-bpffs", f"there is no bpffs at {chosen}, where PCNC_BPFFS says", f"mount -t bpf bpf {chosen}")
        return Path(chosen)
    if _is_bpffs(_USUAL, _SELF):
        return _USUAL
    outermost = _outermost_ancestor()
    if outermost == _SELF:
        _mount(_USUAL)
        return _USUAL
    outside = outermost / "root" / _USUAL.relative_to("/")
    if not _is_bpffs(outside, outermost):
        _mount_outside(outermost)
        if not _is_bpffs(outside, outermost):
            raise RuntimeProblem("no-bpffs", "there is no bpffs that outlives this mount namespace", _MOUNT_HELP)
    return outside


_MOUNT_HELP = f"run `mount -t bpf bpf {_USUAL}` as root, outside of any namespace"


def _is_bpffs(path: Path, process: Path) -> bool:
    """Whether bpffs is mounted at a path, in the mount namespace of a process (its folder in /proc).

    The magic number of statfs(2) would need a structure a machine; mountinfo names device and type alike everywhere.
    """
    try:
        device = os.stat(path).st_dev
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    fields = (line.split() for line in mounts)
    return any(mount[2] == wanted and mount[mount.index("-") + 1] == "bpf" for mount in fields)


def _outermost_ancestor() -> Path:
    """The oldest ancestor whose mount namespace may be seen and is not ours (its folder in /proc), or else this process."""
    ours, outermost, pid = os.readlink(_SELF / "ns/mnt"), _SELF, os.getppid()
    while pid > 0:
        process = Path("/proc", str(pid))
        with suppress(OSError):
            outermost = _SELF if os.readlink(process / "ns/mnt") == ours else process
        try:
            pid = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return outermost


def _mount(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    if libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700"):
        code = ctypes.get_errno()
        raise RuntimeProblem("no-bpffs", f"cannot mount bpffs at {path}: {os.strerror(code)}", _MOUNT_HELP, errno=code)


def _mount_outside(process: Path) -> None:
    command = ["nsenter", f"--mount={process}/ns/mnt", "mount", "-t", "bpf", "bpf", str(_USUAL)]
    with suppress(OSError):
        subprocess.run(command, capture_output=True, check=False)


def pin(fd: int, path: Path) -> None:
    """Pins a map or program under a name that must not exist yet (FileExistsError). The descriptor stays the caller's."""
    checked(library().bpf_obj_pin(fd, os.fsencode(path)))


def pin_over(fd: int, path: Path) -> None:
    """Pins under a name whether or not it exists: beside, then renamed over it, so that there is always one or the other."""
    beside = path.with_name(f"{path.name}_new_{os.getpid()}")
    pin(fd, beside)
    try:
        os.rename(beside, path)
    except BaseException:
        unlink(beside)
        raise


def open_map(path: Path) -> KernelMap:
    """The map pinned there. FileNotFoundError where nothing is; RuntimeProblem `wrong-pin` where something else is."""
    try:
        return KernelMap(_get(path))
    except ValueError:
        raise RuntimeProblem("wrong-pin", f"{path} is not the pin of a map") from None


def open_program(path: Path) -> Program:
    """The program pinned there. FileNotFoundError where nothing is; RuntimeProblem `wrong-pin` where something else is."""
    try:
        return Program(_get(path))
    except ValueError:
        raise RuntimeProblem("wrong-pin", f"{path} is not the pin of a program") from None


def _get(path: Path) -> int:
    return checked(library().bpf_obj_get(os.fsencode(path)))


def make_directory(path: Path) -> None:
    """Makes a directory for pins, and those above it, for root alone; content if it is there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = " (a name in bpffs must not contain a dot)" if error.errno == errno.EPERM and "." in path.name else ""
        problem = problem_from_errno(error, f"make {path}{hint}")
        raise problem from None


def list_pins(directory: Path) -> tuple[str, ...]:
    """The names in a directory of bpffs, sorted; none where it does not exist."""
    try:
        return tuple(sorted(os.listdir(directory)))
    except FileNotFoundError:
        return ()


def unlink(path: Path) -> bool:
    """Removes a pin; False if there was none. What nobody else uses goes with it."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_tree(directory: Path) -> None:
    """Removes a directory with all its pins, the deepest first; content if it is gone."""
    for path in _deepest_first(directory):
        with suppress(FileNotFoundError):
            os.rmdir(path) if path.is_dir() else os.unlink(path)
    with suppress(FileNotFoundError):
        os.rmdir(directory)


def _deepest_first(directory: Path) -> Iterator[Path]:
    for name in list_pins(directory):
        path = directory / name
        if path.is_dir():
            yield from _deepest_first(path)
        yield path
