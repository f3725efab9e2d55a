"""Programs by hand in interpreter and kernel: what the random ones do not reach."""

from __future__ import annotations

import pytest

from pcnc.interpret import Interpreter
from pcnc.manifest import Hook, Toolchain
from pcnc_ebpf.plan import plan_manifest
from pcnc_runtime.trial import Trial
from tests.agreement import compiler
from tests.pcn_text import frame_of
from tests.pipelines import compile_text

pytestmark = [pytest.mark.kernel, pytest.mark.parametrize("hook", ["xdp", "tc"])]

SUMS = """
header probe after udp when udp.dport == 9 {
    a: u16
    b: u8
    c: u24
    sum: u16
    d: u8
    checksum sum covers CHECKSUM
}
header behind after probe {
    x: u8
    y: u13
    z: u3
    w: u64
}
service sums { chain ingress { stage change {
    if probe { probe.a = 5; probe.b += 1; probe.c = u24(0x10203); probe.d -= 1 }
    if behind { behind.x = 0xff; behind.y |= 0x1001; behind.w -= 1 }
    if udp { udp.sport = 7 }
    if ipv4 { ipv4.dst = 10.0.0.9 }
    if ipv6 { ipv6.src = 2001:db8::77 }
} } }
"""


def agree(text: str, hook: Hook, frames: list[bytes], toolchain: Toolchain | None = None) -> None:
    """Both do the same to each of these frames."""
    program, service = compile_text(text)
    manifest, _ = plan_manifest(program, service, hook, [])
    interpreter = Interpreter(program, service, {})

    with Trial(manifest, compiler(program, service, hook, toolchain=toolchain)) as trial:
        for frame in frames:
            meant, actual = interpreter.run("ingress", frame), trial.run("ingress", frame)
            assert (actual.verdict, actual.reason) == (meant.verdict, meant.reason)
            assert actual.frame.hex() == meant.frame.hex()


@pytest.mark.parametrize("covers", ["header", "header, payload", "payload", "header, payload, pseudo"])
def test_sums_inside_sums(hook: Hook, covers: str) -> None:
    try_sums(hook, covers, "clang")


@pytest.mark.bcc
@pytest.mark.parametrize("covers", ["payload", "header, payload, pseudo"])
def test_sums_inside_sums_by_bcc(hook: Hook, covers: str) -> None:
    try_sums(hook, covers, "bcc")


def try_sums(hook: Hook, covers: str, toolchain: Toolchain) -> None:
    text = SUMS.replace("CHECKSUM", covers)
    headers = text[: text.index("service sums")]
    packets = [
        frame_of(f"eth / {ip} / udp(dport={port}{given}) / {layers} / payload({length})", headers)
        for ip in ("ipv4", "ipv6")
        for port in (9, 10)
        for given in ("", ", checksum=0", ", checksum=0x1234")
        for layers in (("probe(a=1, b=255) / behind(x=1, w=0)", "probe(c=0xffffff)") if port == 9 else ("payload(9)",))
        for length in (0, 1, 6)
        if not (port == 10 and length)
    ]
    agree(text, hook, [packet.ljust(60, b"\0") for packet in packets], toolchain)
