"""Whether this kernel has what a bundle needs, asked of the kernel and never of its version."""

from __future__ import annotations

from collections.abc import Callable

from pcnc.manifest import Manifest
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.kernel_maps import MapFlag, MapType, create_map
from pcnc_runtime.libbpf import checked, library
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType

_HELPER_LOOP = 181


def check_needs(manifest: Manifest) -> None:
    """RuntimeProblem `kernel-lacks` names the first thing that is not there; `no-privilege` where it cannot be asked."""
    for need in manifest.needs:
        attempt = _ATTEMPTS.get(need)
        if attempt is None:
            text = f"the bundle needs `{need}`, which this pcnc does not know"
            raise RuntimeProblem("kernel-lacks", text, "load it with the pcnc that built it")
        try:
            there = attempt()
        except OSError as error:
            problem = problem_from_errno(error, f"try {need}")
            if problem.name == "no-privilege":
                raise problem from None
            there = False
        if not there:
            raise RuntimeProblem("kernel-lacks", f"the bundle needs `{need}`, which this kernel lacks")


def _program(kind: ProgramType) -> Callable[[], bool]:
    def attempt() -> bool:
        load_minimal(kind).close()
        return True

    return attempt


def _loop() -> bool:
    return bool(checked(library().libbpf_probe_bpf_helper(ProgramType.XDP, _HELPER_LOOP, None)))


def _trie() -> bool:
    create_map(MapType.LPM_TRIE, 8, 4, 1, name="pcnc_probe", flags=MapFlag.NO_PREALLOC).close()
    return True


_ATTEMPTS: dict[str, Callable[[], bool]] = {
    "xdp": _program(ProgramType.XDP),
    "tc": _program(ProgramType.SCHED_CLS),
    "bpf_loop": _loop,
    "lpm_trie": _trie,
}
