"""Checksums: which cover a field, how an assignment moves them, and that scapy, computing from nothing, comes to the same.

The headers here are made by hand, so that tunnels, odd sizes and odd offsets can be had that the prelude does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from pcnc.checksums import CoveringSum, assign, covering, fold, internet_checksum, moved_sum, updated, words
from pcnc.expression import Arithmetic, Cast, Compare, Constant, Expression, FieldRead, FieldRef
from pcnc.parse_graph import Checksum, Either, Field, HeaderInstance, Headers, Parent
from pcnc.parse_packet import AbsentHeader, Packet, parse_packet
from pcnc.source import Source, Span
from pcnc.types import Type, unsigned

pytestmark = pytest.mark.text

HERE = Span(Source("test.pcn", ""), 0, 0)
U32 = unsigned(32)


def read(header: str, field: str, bits: int) -> Expression:
    return Cast(FieldRead(FieldRef(header, field), unsigned(bits), HERE), U32, HERE)


def constant(value: int) -> Expression:
    return Constant(value, U32, HERE)


def when(parent: str, field: str, bits: int, value: int) -> Parent:
    return Parent(parent, Compare("==", read(parent, field, bits), constant(value), HERE))


def header(
    name: str,
    fields: str,
    parents: Sequence[Parent] = (),
    checksum: Checksum | None = None,
    size: Expression | None = None,
    extent: Expression | None = None,
) -> HeaderInstance:
    """`fields` is `src:32 dst:32`."""
    placed, offset = [], 0
    for item in fields.split():
        field, bits = item.split(":")
        placed.append(Field(field, offset, Type(f"u{bits}", int(bits), "decimal")))
        offset += int(bits)
    kind = name.split(".")[-1]
    return HeaderInstance(
        name, kind, name.count("."), tuple(placed), offset // 8, size, None, extent, None, tuple(parents), checksum, HERE
    )


TRANSPORT = Checksum("checksum", header=True, payload=True, pseudo=True, optional=False)
UDP_SUM = Checksum("checksum", header=True, payload=True, pseudo=True, optional=True)
IP_SUM = Checksum("checksum", header=True, payload=False, pseudo=False, optional=False)
ICMP_SUM = Checksum("checksum", header=True, payload=True, pseudo=False, optional=False)

IPV4_FIELDS = "version:4 ihl:4 tos:8 length:16 id:16 flags:3 offset:13 ttl:8 proto:8 checksum:16 src:32 dst:32"
TCP_FIELDS = "sport:16 dport:16 seq:32 ack:32 offset:4 reserved:4 flags:8 window:16 checksum:16 urgent:16"
UDP_FIELDS = "sport:16 dport:16 length:16 checksum:16"


def ihl(name: str) -> Expression:
    return Arithmetic("*", read(name, "ihl", 4), constant(4), U32, HERE)


HEADERS = Headers(
    (
        header("eth", "dst:48 src:48 type:16"),
        header(
            "ipv4",
            IPV4_FIELDS,
            [when("eth", "type", 16, 0x0800)],
            IP_SUM,
            ihl("ipv4"),
            read("ipv4", "length", 16),
        ),
        header("carrier", "kind:16", [when("ipv4", "proto", 8, 47)]),
        header(
            "ipv6",
            "version:4 class:8 flow:20 length:16 next:8 hop_limit:8 src:128 dst:128",
            [when("eth", "type", 16, 0x86DD), when("carrier", "kind", 16, 0x86DD)],
        ),
        header("tcp", TCP_FIELDS, [when("ipv4", "proto", 8, 6), when("ipv6", "next", 8, 6)], TRANSPORT),
        header("udp", UDP_FIELDS, [when("ipv4", "proto", 8, 17), when("ipv6", "next", 8, 17)], UDP_SUM),
        header("icmp", "type:8 code:8 checksum:16 rest:32", [when("ipv4", "proto", 8, 1)], ICMP_SUM),
        header("icmpv6", "type:8 code:8 checksum:16 rest:32", [when("ipv6", "next", 8, 58)], TRANSPORT),
        header("odd", "a:4 b:12 c:5 d:16 e:3", [when("udp", "dport", 16, 9000)]),
        header("even", "f:8 g:16 h:32", [Parent("odd", None)]),
        header("tunnel", "id:40", [when("udp", "dport", 16, 4789)]),
        header("inner.ipv4", IPV4_FIELDS, [Parent("tunnel", None)], IP_SUM, ihl("inner.ipv4"), read("inner.ipv4", "length", 16)),
        header("inner.tcp", TCP_FIELDS, [when("inner.ipv4", "proto", 8, 6)], TRANSPORT),
    ),
    (Either("l4", ("tcp", "udp"), ()),),
)


# Addresses stand in all packets: where one is missing, scapy asks the network for it.


def ethernet() -> ScapyPacket:
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def ip4(chksum: int | None = None, proto: int = 0) -> ScapyPacket:
    """With `proto` 0 it is what follows that decides."""
    made = IP(src="10.1.2.3", dst="10.9.8.7", chksum=chksum)
    if proto:
        made.proto = proto
    return made


def ip6() -> ScapyPacket:
    return IPv6(src="2001:db8::1", dst="2001:db8::2")


def packet(frame: object) -> Packet:
    return parse_packet(HEADERS, bytes(frame))  # type: ignore[call-overload]  # scapy's packets have __bytes__


def recomputed(frame: bytes) -> bytes:
    """The frame with all sums computed anew by scapy."""
    parsed = Ether(frame)
    layer: ScapyPacket = parsed
    while layer and not isinstance(layer, Raw):
        for name in ("chksum", "cksum"):
            if name in layer.fields and not (isinstance(layer, UDP) and layer.chksum == 0):
                delattr(layer, name)
        layer = layer.payload
    return bytes(parsed)


# ---- what covers what


def test_what_covers_the_fields_of_the_outer_headers() -> None:
    assert covering(HEADERS, FieldRef("eth", "src")) == ()
    assert covering(HEADERS, FieldRef("ipv4", "ttl")) == (CoveringSum("ipv4", pseudo=False, same_header=True),)
    assert covering(HEADERS, FieldRef("ipv4", "src")) == (
        CoveringSum("ipv4", pseudo=False, same_header=True),
        CoveringSum("tcp", pseudo=True, same_header=False),
        CoveringSum("udp", pseudo=True, same_header=False),
    )
    assert covering(HEADERS, FieldRef("ipv6", "dst")) == (
        CoveringSum("tcp", pseudo=True, same_header=False),
        CoveringSum("udp", pseudo=True, same_header=False),
        CoveringSum("icmpv6", pseudo=True, same_header=False),
    )
    assert covering(HEADERS, FieldRef("ipv6", "hop_limit")) == ()
    assert covering(HEADERS, FieldRef("tcp", "sport")) == (CoveringSum("tcp", pseudo=False, same_header=True),)
    assert covering(HEADERS, FieldRef("tcp", "checksum")) == ()
    assert covering(HEADERS, FieldRef("even", "g")) == (CoveringSum("udp", pseudo=False, same_header=False),)


def test_what_covers_the_fields_in_a_tunnel() -> None:
    assert covering(HEADERS, FieldRef("inner.ipv4", "src")) == (
        CoveringSum("inner.ipv4", pseudo=False, same_header=True),
        CoveringSum("udp", pseudo=False, same_header=False),
        CoveringSum("inner.tcp", pseudo=True, same_header=False),
    )
    assert covering(HEADERS, FieldRef("inner.tcp", "checksum")) == (CoveringSum("udp", pseudo=False, same_header=False),)
    with pytest.raises(KeyError):
        covering(HEADERS, FieldRef("l4", "sport"))


# ---- the arithmetic


@settings(deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_correct_sum_moves_to_the_correct_sum(before: bytes, after: bytes) -> None:
    size = min(len(before), len(after))
    before, after = before[:size], after[:size]
    moved = moved_sum(internet_checksum(before), before, after)
    assert moved != 0xFFFF
    assert moved % 0xFFFF == internet_checksum(after) % 0xFFFF


@settings(deadline=None)
@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_wrong_sum_stays_wrong_by_as_much(stored: int, before: int, after: int) -> None:
    moved = moved_sum(stored, before.to_bytes(2, "big"), after.to_bytes(2, "big"))
    assert (moved - stored) % 0xFFFF == (before - after) % 0xFFFF


def test_the_sum_of_rfc_1624_comes_out_as_zero_not_as_0xffff() -> None:
    # RFC 1624, section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 give 0x0000, where RFC 1141 gives 0xffff.
    assert moved_sum(0xDD2F, b"\x55\x55", b"\x32\x85") == 0x0000


def test_zero_and_all_ones() -> None:
    assert moved_sum(0xFFFF, b"\x12\x34", b"\x12\x34") == 0
    assert moved_sum(0, b"", b"") == 0
    optional = Checksum("checksum", header=True, payload=True, pseudo=True, optional=True)
    assert updated(optional, over_ipv4=True, stored=0, before=b"\0\1", after=b"\0\2") == 0
    assert updated(optional, over_ipv4=False, stored=0, before=b"\0\1", after=b"\0\2") == 0xFFFE
    assert updated(optional, over_ipv4=True, stored=0xDD2F, before=b"\x55\x55", after=b"\x32\x85") == 0xFFFF
    assert updated(TRANSPORT, over_ipv4=True, stored=0xDD2F, before=b"\x55\x55", after=b"\x32\x85") == 0
    assert updated(TRANSPORT, over_ipv4=True, stored=0, before=b"\0\1", after=b"\0\2") == 0xFFFE


def test_words_and_folding() -> None:
    assert words(b"\x12\x34\x56") == [0x1234, 0x5600]
    assert fold(0x1FFFF) == 1
    assert fold(0xFFFF) == 0xFFFF
    # The example of RFC 1071, section 3.
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


# ---- assignments, against scapy

addresses = st.integers(0, 2**32 - 1)
ports = st.integers(0, 65535)
payloads = st.binary(max_size=9)

ASSIGNMENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ipv4.src", "ipv4.dst", "tcp.seq", "tcp.ack"]), addresses),
        st.tuples(st.sampled_from(["ipv4.id", "l4.sport", "l4.dport", "tcp.window", "tcp.urgent"]), ports),
        st.tuples(st.sampled_from(["ipv4.tos", "ipv4.ttl", "tcp.flags", "icmp.type", "icmp.code"]), st.integers(0, 255)),
        st.tuples(st.just("icmp.rest"), addresses),
        st.tuples(st.sampled_from(["ipv4.flags"]), st.integers(0, 7)),
    ),
    max_size=6,
)


def carry_out(target: Packet, assignments: Sequence[tuple[str, int]]) -> None:
    for name, value in assignments:
        head, field = name.split(".")
        if target.present(head):
            assign(target, FieldRef(head, field), value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["tcp", "udp", "icmp"]), payloads, ASSIGNMENTS)
def test_sums_over_ipv4_follow_as_scapy_computes_them(kind: str, payload: bytes, assignments: list[tuple[str, int]]) -> None:
    transport = {"tcp": TCP(), "udp": UDP(dport=1), "icmp": ICMP()}[kind]
    target = packet(ethernet() / ip4() / transport / Raw(payload))
    carry_out(target, assignments)
    assert bytes(target.frame) == recomputed(bytes(target.frame))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["tcp", "udp", "icmpv6"]),
    payloads,
    st.lists(st.tuples(st.sampled_from(["ipv6.src", "ipv6.dst"]), st.integers(0, 2**128 - 1)), max_size=3),
    ports,
)
def test_sums_over_ipv6_follow_as_scapy_computes_them(
    kind: str, payload: bytes, assignments: list[tuple[str, int]], port: int
) -> None:
    transport = {"tcp": TCP(), "udp": UDP(dport=1), "icmpv6": ICMPv6EchoRequest()}[kind]
    target = packet(ethernet() / ip6() / transport / Raw(payload))
    carry_out(target, [*assignments, ("l4.sport", port), ("ipv6.flow", port), ("icmpv6.rest", port)])
    assert bytes(target.frame) == recomputed(bytes(target.frame))


@settings(max_examples=200, deadline=None)
@given(
    payloads,
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["odd.a", "odd.b", "odd.c", "odd.d", "odd.e", "even.f", "even.g"]), ports),
            st.tuples(st.just("even.h"), addresses),
        ),
        max_size=5,
    ),
)
def test_fields_at_odd_bits_behind_udp(payload: bytes, assignments: list[tuple[str, int]]) -> None:
    """`odd` has 5 bytes, so that the words of `even` straddle its fields, and `odd.c`, `odd.d` straddle bytes."""
    target = packet(ethernet() / ip4() / UDP(sport=1, dport=9000) / Raw(bytes(12) + payload))
    assert target.present("even")
    carry_out(
        target,
        [
            (name, value & (2 ** HEADERS.instance(name.split(".")[0]).field(name.split(".")[1]).type.bits - 1))
            for name, value in assignments
        ],
    )
    assert bytes(target.frame) == recomputed(bytes(target.frame))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["inner.ipv4.src", "inner.ipv4.dst", "inner.tcp.seq", "ipv4.src"]), addresses), max_size=4),
    st.booleans(),
)
def test_a_sum_that_moves_in_a_tunnel_moves_the_sum_around_it(assignments: list[tuple[str, int]], with_outer_sum: bool) -> None:
    # The tunnel's header has 5 bytes: the inner headers lie at odd bytes of what the outer sum covers, at even ones of their own.
    inner = bytes(ip4() / TCP() / Raw(b"abc"))
    outer = UDP(sport=1, dport=4789) if with_outer_sum else UDP(sport=1, dport=4789, chksum=0)
    target = packet(ethernet() / ip4() / outer / Raw(b"\0\0\0\7\0" + inner))
    assert target.present("inner.tcp")
    for name, value in assignments:
        head, field = name.rsplit(".", 1)
        assign(target, FieldRef(head, field), value)
    assert bytes(target.frame) == recomputed(bytes(target.frame))
    carried = bytes(target.frame[14 + 20 + 8 + 5 :])
    again = IP(carried)
    del again.chksum
    del again[TCP].chksum
    assert bytes(again) == carried


def test_the_pseudo_header_is_that_of_the_nearest_ip_header() -> None:
    carried = ip6() / TCP() / Raw(b"abc")
    target = packet(ethernet() / ip4(proto=47) / Raw(b"\x86\xdd" + bytes(carried)))
    assert target.present("tcp")
    assign(target, FieldRef("ipv4", "src"), 1)
    assert bytes(target.frame[14 + 20 + 2 :]) == bytes(carried)
    assign(target, FieldRef("ipv6", "src"), 1)
    carried.src = "::1"
    assert bytes(target.frame[14 + 20 + 2 :]) == bytes(carried)


@settings(max_examples=100, deadline=None)
@given(ports, addresses, ports)
def test_a_wrong_sum_in_a_packet_stays_wrong_by_as_much(wrong: int, address: int, port: int) -> None:
    target = packet(ethernet() / ip4(chksum=wrong) / TCP(chksum=wrong))
    right = packet(ethernet() / ip4() / TCP())
    for each in (target, right):
        assign(each, FieldRef("ipv4", "src"), address)
        assign(each, FieldRef("tcp", "sport"), port)
    before = packet(ethernet() / ip4() / TCP())
    for field in (FieldRef("ipv4", "checksum"), FieldRef("tcp", "checksum")):
        assert (target.read(field) - right.read(field)) % 0xFFFF == (wrong - before.read(field)) % 0xFFFF


# ---- zeros, fragments, cut packets


def test_no_udp_checksum_over_ipv4_stays_none() -> None:
    target = packet(ethernet() / ip4() / UDP(chksum=0))
    assign(target, FieldRef("ipv4", "src"), 1)
    assign(target, FieldRef("udp", "sport"), 7)
    assert target.read(FieldRef("udp", "checksum")) == 0
    assert bytes(target.frame) == recomputed(bytes(target.frame))


def test_a_zero_udp_checksum_over_ipv6_is_a_wrong_sum_like_any_other() -> None:
    target = packet(ethernet() / ip6() / UDP(sport=5, chksum=0))
    assign(target, FieldRef("udp", "sport"), 6)
    assert target.read(FieldRef("udp", "checksum")) == 0xFFFE


@pytest.mark.parametrize("ip", [ip4(), ip6()])
def test_a_udp_checksum_that_comes_to_zero_is_written_as_all_ones(ip: ScapyPacket) -> None:
    target = packet(ethernet() / ip / UDP(sport=1, dport=2))
    stored = target.read(FieldRef("udp", "checksum"))
    # Adding what is missing to the sum makes it 0xffff, its complement 0.
    assign(target, FieldRef("udp", "sport"), 1 + stored)
    assert target.read(FieldRef("udp", "checksum")) == 0xFFFF
    assert bytes(target.frame) == recomputed(bytes(target.frame))


def test_a_tcp_checksum_that_comes_to_zero_is_written_as_zero() -> None:
    target = packet(ethernet() / ip4() / TCP(sport=1))
    assign(target, FieldRef("tcp", "sport"), 1 + target.read(FieldRef("tcp", "checksum")))
    assert target.read(FieldRef("tcp", "checksum")) == 0


def test_assigning_a_checksum_writes_it_and_moves_no_other_of_its_header() -> None:
    target = packet(ethernet() / ip4() / TCP())
    before = bytes(target.frame)
    assign(target, FieldRef("tcp", "checksum"), 0x1234)
    assert [i for i in range(len(before)) if before[i] != target.frame[i]] == [50, 51]
    assign(target, FieldRef("ipv4", "checksum"), 0x1234)
    assert target.read(FieldRef("ipv4", "checksum")) == 0x1234


def test_assigning_what_is_there_already_changes_nothing() -> None:
    target = packet(ethernet() / ip4() / TCP() / Raw(b"x"))
    before = bytes(target.frame)
    assign(target, FieldRef("ipv4", "ttl"), 64)
    assign(target, FieldRef("l4", "dport"), 80)
    assert bytes(target.frame) == before


def test_assigning_to_an_absent_header_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AbsentHeader, match="l4 is absent"):
        assign(packet(ethernet() / ip4() / ICMP()), FieldRef("l4", "sport"), 1)


def test_a_cut_packet_keeps_what_its_sums_know_of_the_rest() -> None:
    whole = packet(ethernet() / ip4() / UDP(dport=1) / Raw(b"x" * 100))
    cut = packet(bytes(whole.frame)[: 14 + 20 + 8 + 3])
    for each in (whole, cut):
        assign(each, FieldRef("ipv4", "src"), 0x0A000001)
        assign(each, FieldRef("udp", "sport"), 99)
    assert whole.frame[: len(cut.frame)] == cut.frame
