"""What is read from the verifier's log."""

from __future__ import annotations

import errno

import pytest

from pcnc_runtime.errors import problem_from_errno
from pcnc_runtime.verifier_log import read_log

LOG = """\
0: R1=ctx() R10=fp0
; first line @ entry.c:8
0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()
; if (ipv4.ttl == 0) { @ firewall.pcn:7:12
20: (61) r0 = *(u32 *)(r1 +0)
invalid access to packet, off=0 size=4, R1(id=0,off=0,r=0)
R1 offset is outside of the packet
processed 19 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""


def test_the_reason_and_the_last_line_it_was_at() -> None:
    refusal = read_log(LOG)
    assert refusal.reason == "R1 offset is outside of the packet"
    assert (refusal.file, refusal.line, refusal.text) == ("firewall.pcn", 7, "if (ipv4.ttl == 0) {")
    assert refusal.excerpt.endswith(refusal.reason)
    assert "processed" not in refusal.excerpt


def test_a_line_whose_text_the_compiler_did_not_have() -> None:
    assert read_log(";  @ some.pcn:12\ninvalid\n").line == 12


@pytest.mark.parametrize("log", ["", "\n\n", "processed 3 insns (limit 1000000)\n"])
def test_a_log_that_says_nothing(log: str) -> None:
    refusal = read_log(log)
    assert (refusal.reason, refusal.file, refusal.line, refusal.excerpt) == ("", "", 0, "")


def test_an_excerpt_is_short() -> None:
    assert len(read_log("\n".join(f"{n}: insn" for n in range(9999))).excerpt.splitlines()) == 12


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (errno.EPERM, "no-privilege"),
        (errno.ENODEV, "no-such-device"),
        (errno.ENOMEM, "no-memory"),
        (errno.EINVAL, "kernel-refused"),
        (524, "not-supported"),
        (0, "kernel-refused"),
    ],
)
def test_an_errno_becomes_a_problem_that_says_what_was_tried(code: int, name: str) -> None:
    problem = problem_from_errno(OSError(code, ""), "create map `routes`")
    assert problem.name == name
    assert problem.message.startswith("cannot create map `routes`: ")
    assert problem.errno == code
