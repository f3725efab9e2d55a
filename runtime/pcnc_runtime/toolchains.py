"""Which compiler makes the objects: the one asked for, else clang, else BCC."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pcnc.manifest import Toolchain
from pcnc_runtime.bcc import find_bcc
from pcnc_runtime.build import Clang, Compiler, find_clang
from pcnc_runtime.errors import RuntimeProblem


@dataclass(frozen=True, slots=True)
class ChosenCompiler:
    """A compiler; and, where nobody asked for it and it is not clang, why it was taken."""

    compiler: Compiler
    why: str = ""


def toolchain_of(compiler: Compiler) -> Toolchain:
    """Its name."""
    return "clang" if isinstance(compiler, Clang) else "bcc"


def choose_compiler(wanted: Toolchain | None = None) -> ChosenCompiler:
    """The compiler of a name; without one that of $PCNC_TOOLCHAIN, else clang, else BCC.

    RuntimeProblem `no-clang` where there is none, `no-bcc` where BCC was asked for, `no-such-toolchain`.
    """
    match wanted or _from_environment():
        case "clang":
            return ChosenCompiler(find_clang())
        case "bcc":
            return ChosenCompiler(find_bcc())
        case _:
            return _any_compiler()


def _from_environment() -> Toolchain | None:
    match os.environ.get("PCNC_TOOLCHAIN"):
        case None | "":
            return None
        case "clang":
            return "clang"
        case "bcc":
            return "bcc"
        case unknown:
            raise RuntimeProblem("no-such-toolchain", f"PCNC_TOOLCHAIN is `{unknown}`", "there are `clang` and `bcc`")


def _any_compiler() -> ChosenCompiler:
    try:
        return ChosenCompiler(find_clang())
    except RuntimeProblem as problem:
        if problem.name != "no-clang" or os.environ.get("PCNC_CLANG"):
            raise
        try:
            found = find_bcc()
        except RuntimeProblem:
            problem.help = "install it (Debian: apt-get install clang) or BCC (libbpfcc), or load a bundle built elsewhere"
            raise problem from None
        return ChosenCompiler(found, problem.message)
