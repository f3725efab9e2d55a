"""What can go wrong at run time: problems with a name, a message and what would mend them, and what an errno means."""

from __future__ import annotations

import errno as codes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcnc.rule_edits import Edit
    from pcnc.source import Source, Span
    from pcnc_runtime.misfits import Misfit

ENOTSUPP = 524
"""The kernel's own "not supported", which never made it into errno.h."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why clang or the kernel's verifier does not take a program that pcnc made, and the line of PCN which it comes from."""

    program: str
    reason: str
    excerpt: tuple[str, ...] = ()
    """The few lines of the log that tell."""
    file: str = ""
    """The name of the source, without folders; empty where it is not known."""
    line: int = 0
    """Counted from 1; 0 where it is not known."""
    text: str = ""
    """The line, as far as the log quotes it."""


class RuntimeProblem(Exception):
    """Something that the person at the keyboard can understand and usually mend.

    `name` is kebab-case and the same for ever; `message` says what happened; `help` what to do, or is empty; `errno` is the
    kernel's code, or 0; `log` is what the verifier or the compiler printed, or is empty; `misfits` is what another version
    cannot hold. Where a program is refused by one of these, `refusal` is what that means, and `source` what the program was
    compiled from, if that is known.
    """

    source: Source | None = None

    def __init__(
        self,
        name: str,
        message: str,
        help: str = "",
        *,
        errno: int = 0,
        log: str = "",
        misfits: tuple[Misfit, ...] = (),
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.help = help
        self.errno = errno
        self.log = log
        self.misfits = misfits
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class RefusedEdit:
    """An edit of rules that cannot be carried out, and why.

    `span` is where the edit stands, or of several rules the one; `note` what there is to say of an earlier place, `earlier`,
    that it collides with. Spans are None for what was not read from text.
    """

    edit: Edit
    problem: RuntimeProblem
    span: Span | None
    note: str = ""
    earlier: Span | None = None


class RefusedEdits(RuntimeProblem):
    """Edits that cannot be carried out, in their order, at least one; the problem that is told first is the first one's."""

    def __init__(self, refused: Sequence[RefusedEdit]) -> None:
        first = refused[0].problem
        super().__init__(first.name, first.message, first.help)
        self.refused = tuple(refused)


_PRIVILEGE = "run it as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN"

_MEANING = {
    codes.EPERM: ("no-privilege", _PRIVILEGE),
    codes.EACCES: ("no-privilege", _PRIVILEGE),
    codes.ENODEV: ("no-such-device", "`ip link` lists the devices of this network namespace"),
    codes.ENOSPC: ("no-space", "make room where files are kept; where it is a map that is full, make it larger"),
    codes.EDQUOT: ("no-space", "the quota of the disk is used up: make room"),
    codes.EMFILE: ("kernel-refused", "raise the number of files that a process may have open: `ulimit -n`"),
    codes.ENFILE: ("kernel-refused", "raise the number of files that may be open on this machine: `sysctl fs.file-max`"),
    codes.EROFS: ("kernel-refused", "`mount -o remount,rw` what is mounted there"),
    codes.EIO: ("kernel-refused", "the disk fails; `dmesg` may say why"),
    codes.E2BIG: ("too-large", "it exceeds a limit of the kernel"),
    codes.ENOMEM: ("no-memory", "free memory, or declare smaller tables"),
    codes.ENOSYS: ("no-bpf", "this kernel was built without eBPF"),
    codes.EOPNOTSUPP: ("not-supported", "the kernel or the device's driver lacks this feature"),
    ENOTSUPP: ("not-supported", "the kernel lacks this feature"),
    codes.EBUSY: ("device-busy", "something else holds it"),
    codes.EEXIST: ("already-there", "remove it first, or take another name"),
    codes.ENOENT: ("not-there", ""),
}


def problem_from_errno(error: OSError, doing: str) -> RuntimeProblem:
    """The problem that a refused system call amounts to. `doing` completes "cannot …" ("create map `routes`")."""
    code = error.errno or 0
    name, help = _MEANING.get(code, ("kernel-refused", ""))
    words = "Not supported (ENOTSUPP)" if code == ENOTSUPP else f"{os.strerror(code)} ({codes.errorcode.get(code, code)})"
    return RuntimeProblem(name, f"cannot {doing}: {words}", help, errno=code)
