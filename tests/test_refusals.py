"""What is read from the logs of the verifier and of clang, and how it is told."""

from __future__ import annotations

import errno

import pytest

from pcnc.cli.refusals import refusal_as_diagnostic, refusal_to_json
from pcnc.source import Source
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.errors import Refusal, RuntimeProblem, problem_from_errno
from pcnc_runtime.refusals import compiled_from, read_clang_errors, read_verifier_log

LOG = """\
0: R1=ctx() R10=fp0
; first line @ entry.bpf.c:8
0: (bf) r6 = r1                       ; R1=ctx() R6=ctx()
; if (ipv4.ttl == 0) { @ firewall.pcn:7:12
19: (61) r1 = *(u32 *)(r6 +0)         ; R1_w=pkt(id=2,r=0,smin=smin32=0,var_off=(0x0; 0xffff)) R6=ctx()
; INLINE u8 *pcnc_start(struct pcnc_context *ctx) @ pcnc_block.h:120
20: (61) r0 = *(u32 *)(r1 +0)
invalid access to packet, off=0 size=4, R1(id=0,off=0,r=0)
R1 offset is outside of the packet
processed 19 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""


def test_the_line_of_pcn_before_the_refused_instruction_and_what_tells_why() -> None:
    refusal = read_verifier_log(LOG, "mark")
    assert (refusal.program, refusal.reason) == ("mark", "R1 offset is outside of the packet")
    assert (refusal.file, refusal.line, refusal.text) == ("firewall.pcn", 7, "if (ipv4.ttl == 0) {")
    assert refusal.excerpt == (
        "20: (61) r0 = *(u32 *)(r1 +0)            ; R1=pkt(id=2,r=0,smin=smin32=0,var_off=(0x0; 0xffff))",
        "invalid access to packet, off=0 size=4, R1(id=0,off=0,r=0)",
        "R1 offset is outside of the packet",
    )


def test_a_branch_that_is_taken_up_tells_the_state_anew() -> None:
    log = """\
; a @ x.pcn:1
0: (b7) r2 = 1                        ; R2_w=1
; b @ x.pcn:2
1: (05) goto pc+1

from 0 to 4: R1=scalar() R2=map_value_or_null(id=3,map=frames,ks=4,vs=24) R10=fp0
4: (71) r0 = *(u8 *)(r2 +0)
R2 invalid mem access 'map_value_or_null'
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
"""
    refusal = read_verifier_log(log)
    assert refusal.excerpt[0].endswith("; R2=map_value_or_null(id=3,map=frames,ks=4,vs=24)")
    assert len(refusal.excerpt) == 2
    assert refusal.line == 2


def test_arithmetic_on_a_pointer_is_a_reason() -> None:
    said = "math between pkt pointer and register with unbounded min value is not allowed"
    assert read_verifier_log(f"; x @ x.pcn:4\n7: (0f) r1 += r2\n{said}\nprocessed 3 insns\n").reason == said


def test_a_reason_without_an_instruction() -> None:
    refusal = read_verifier_log("The sequence of 8193 jumps is too complex.\nprocessed 9 insns (limit 1000000)\n")
    assert refusal.excerpt == (refusal.reason,) == ("The sequence of 8193 jumps is too complex.",)


@pytest.mark.parametrize(
    ("text", "file", "line"),
    [
        (";  @ some.pcn:12\ninvalid\n", "some.pcn", 12),
        ("; a @ b @ my own.pcn:3\ninvalid\n", "my own.pcn", 3),
        ("; a @ <stdin>:3:7\ninvalid\n", "<stdin>", 3),
        ("; int x; @ 1_mark.bpf.c:3\ninvalid\n", "", 0),
    ],
)
def test_names_of_sources(text: str, file: str, line: int) -> None:
    refusal = read_verifier_log(text)
    assert (refusal.file, refusal.line) == (file, line)


@pytest.mark.parametrize("log", ["", "\n\n", "processed 3 insns (limit 1000000)\n"])
def test_a_log_that_says_nothing(log: str) -> None:
    assert read_verifier_log(log) == Refusal("", "")


def test_clang_names_the_line_of_its_first_error() -> None:
    words = """\
In file included from 1_mark.bpf.c:7:
./sample.pcn:26:33: error: use of undeclared identifier 'valve'
   26 |                                 frame->meta_seen = valve;
      |                                                    ^
1 error generated.
"""
    refusal = read_clang_errors(words, "1_mark.bpf.c")
    assert (refusal.file, refusal.line, refusal.reason) == ("sample.pcn", 26, "use of undeclared identifier 'valve'")
    assert len(refusal.excerpt) == 3
    assert read_clang_errors("include/pcnc_block.h:3:4: error: no\n", "x").line == 0
    assert read_clang_errors("error: cannot select\n", "x").excerpt == ("error: cannot select",)


# ---- told


SOURCE = SourceRecord(
    "/etc/pcnc/fw.pcn", "service fw {\n    chain ingress {\n        drop  \n        drop\n    }\n}\n", "fw", "xdp"
)


def told(refusal: Refusal, source: SourceRecord | None) -> tuple[RuntimeProblem, Refusal]:
    problem = RuntimeProblem("verifier-refused", "it refuses", log="a\nb\nc\n", refusal=refusal)
    problem.source = Source(source.path, source.text) if source else None
    return problem, refusal


def test_the_place_is_the_whole_line() -> None:
    problem, refusal = told(Refusal("p", "no", ("no",), "fw.pcn", 3, "drop"), SOURCE)
    span = refusal_as_diagnostic(problem, refusal, False).span
    assert span is not None
    assert (str(span), span.text) == ("/etc/pcnc/fw.pcn:3:9", "drop")
    assert refusal_to_json(problem, refusal)["end_column"] == 13


@pytest.mark.parametrize(("text", "line"), [("chain ingress {", 2), ("drop", None), ("pass", None), ("", None)])
def test_a_kernel_that_tells_the_text_alone(text: str, line: int | None) -> None:
    assert refusal_to_json(*told(Refusal("p", "no", text=text), SOURCE))["line"] == line


@pytest.mark.parametrize(("file", "line"), [("other.pcn", 3), ("fw.pcn", 99), ("", 0)])
def test_a_line_that_cannot_be_shown_is_named(file: str, line: int) -> None:
    problem, refusal = told(Refusal("p", "no", file=file, line=line, text="drop" if line else ""), SOURCE)
    diagnostic = refusal_as_diagnostic(problem, refusal, True)
    assert diagnostic.span is None
    assert [note.message for note in diagnostic.notes] == ([f"{file}:{line}: drop"] if line else [])


def test_the_prelude_is_always_at_hand() -> None:
    problem, refusal = told(Refusal("p", "no", file="prelude.pcn", line=1), None)
    span = refusal_as_diagnostic(problem, refusal, True).span
    assert span is not None
    assert span.source.path == "prelude.pcn"


def test_a_source_is_read_only_for_a_refusal() -> None:
    def lost() -> SourceRecord:
        raise RuntimeProblem("broken-record", "it is gone")

    with pytest.raises(RuntimeProblem, match="no memory"), compiled_from(lost):
        raise RuntimeProblem("no-memory", "no memory")
    with pytest.raises(RuntimeProblem, match="it refuses") as raised, compiled_from(lost):
        raise told(Refusal("p", "no"), None)[0]
    assert raised.value.source is None
    with pytest.raises(RuntimeProblem) as raised, compiled_from(lambda: SOURCE):
        raise told(Refusal("p", "no"), None)[0]
    assert raised.value.source == Source(SOURCE.path, SOURCE.text)


# ---- system calls


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
