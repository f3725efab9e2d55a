"""What a user calls things is his own business: no name of a stage, table or action gets in the way of what C has names for."""

from __future__ import annotations

import pytest

from pcnc_ebpf.names import Names, function_name
from tests.agreement import Agreement
from tests.live_service import udp

NAMES = (
    *("floor", "abs", "exit", "printf", "malloc", "setjmp", "alloca", "strlen"),  # the C library
    *("memset", "memcpy", "memmove", "memcmp", "bcmp"),  # what LLVM calls by itself
    *("bpf_loop", "pcnc_end", "pcnc_context", "SEC", "INLINE", "BPF_F_NO_PREALLOC", "PCNC_DROP"),  # the block header
    *("main", "int", "inline", "__builtin_trap", "blocks", "frame", "xdp", "tc", "license"),  # C, the templates, sections
)


def test_a_name_that_is_free_stays_as_it_is() -> None:
    assert function_name("sources") == "sources"
    assert function_name("bpf_loop") == "of_bpf_loop"
    names = Names()
    assert [names.take(each) for each in ("of_bpf_loop", "bpf_loop", "memset")] == ["of_bpf_loop", "of_bpf_loop_2", "memset_2"]


@pytest.mark.kernel
def test_any_name_compiles_and_runs() -> None:
    stages = "\n".join(f"stage {name} {{ if ipv4 {{ if ipv4.ttl == {ttl} {{ drop }} }} }}" for ttl, name in enumerate(NAMES))
    steps = "\n".join(NAMES)
    with Agreement(f"service s {{\n{stages}\nchain ingress {{\n{steps}\n}}\n}}\n") as service:
        for ttl, name in enumerate(NAMES):
            assert service.run(frame(ttl)).reason == f"drop: stage {name}"
        assert service.run(frame(len(NAMES))).verdict == "next"


def frame(ttl: int) -> bytes:
    """A packet that only the stage with this number drops."""
    whole = bytearray(udp())
    whole[22] = ttl
    return bytes(whole)
