"""C names for what PCN names: locals, functions, constants."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pcnc_ebpf.layout import identifier

_C_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        auto break case char const continue default do double else enum extern float for goto if inline int long register
        restrict return short signed sizeof static struct switch typedef typeof union unsigned void volatile while asm
        bool true false u8 u16 u32 u64 u128 ctx frame rule key next bytes data done blocks verdicts frames config search
        present offset limit at change before after main
        license _license xdp tc
        SEC UNUSED INLINE memset memcpy memmove memcmp bcmp
        """,
    )
)

_OF_THE_HEADER = re.compile(r"bpf_|pcnc_|BPF_|PCNC_|SLOT_|BECAUSE_|HAS_|__")
"""How names begin that the block header, the templates or the compiler itself give."""


class Names:
    """Gives each thing of one C function a name of its own, as close to the name wanted as C allows."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(_C_WORDS) | set(taken)

    def take(self, wanted: str) -> str:
        """A name not given before."""
        plain = identifier(wanted)
        if _OF_THE_HEADER.match(plain):
            plain = f"of_{plain}"
        name, number = plain, 2
        while name in self._taken:
            name, number = f"{plain}_{number}", number + 1
        self._taken.add(name)
        return name


def function_name(block: str) -> str:
    """The C function, and so the kernel's program, of a block."""
    return Names().take(block)


def present_bit(header: str) -> str:
    """The constant of a header's bit in `frame->present`."""
    return f"HAS_{constant(header)}"


def offset_member(header: str) -> str:
    """The frame's member that holds where a header begins."""
    return f"{identifier(header)}_at"


def reason_constant(reason: str) -> str:
    """`drop: rule sources` → `DROP_RULE_SOURCES`, prefixed so that no other constant has its name."""
    return "BECAUSE_" + "_".join(constant(word) for word in reason.replace(":", "").split())


def constant(name: str) -> str:
    """A name as part of a constant's. PCN tells capitals from small letters: a name with capitals keeps them, and is marked."""
    plain = identifier(name)
    return plain.upper() if plain == plain.lower() else f"of_{plain}"
