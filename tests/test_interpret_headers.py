"""Which headers a frame holds: every header of the prelude, and what makes each of them absent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc.expression import FieldRef
from pcnc.parse_packet import AbsentHeader, parse_packet
from tests.pcn_text import frame_of, headers_of, present_in

pytestmark = pytest.mark.text

HEADERS = headers_of()


def present(packet: str) -> list[str]:
    return present_in(HEADERS, frame_of(packet))


PACKETS = [
    ("eth", "eth"),
    ("eth / payload(46)", "eth"),
    ("eth / arp", "eth arp"),
    ("eth / ipv4", "eth ipv4"),
    ("eth / ipv4 / payload(8)", "eth ipv4"),
    ("eth / ipv4 / tcp", "eth ipv4 tcp"),
    ("eth / ipv4(ihl=6) / tcp(offset=7) / payload(3)", "eth ipv4 tcp"),
    ("eth / ipv4(ihl=15) / udp", "eth ipv4 udp"),
    ("eth / ipv4 / icmp / payload(8)", "eth ipv4 icmp"),
    ("eth / ipv6", "eth ipv6"),
    ("eth / ipv6 / tcp(offset=15)", "eth ipv6 tcp"),
    ("eth / ipv6 / udp / payload(1)", "eth ipv6 udp"),
    ("eth / ipv6 / icmpv6", "eth ipv6 icmpv6"),
    ("eth / ipv6 / ipv6_ext / tcp", "eth ipv6 ipv6_ext tcp"),
    ("eth / ipv6 / ipv6_ext(length=2) / ipv6_ext / icmpv6", "eth ipv6 ipv6_ext ipv6_ext.inner icmpv6"),
    ("eth / vlan", "eth vlan"),
    ("eth / vlan / arp", "eth vlan arp"),
    ("eth / vlan / ipv4 / udp", "eth vlan ipv4 udp"),
    ("eth(type=0x88a8) / vlan / vlan / ipv6 / tcp", "eth vlan vlan.inner ipv6 tcp"),
]


@pytest.mark.parametrize(("packet", "names"), PACKETS)
def test_the_headers_of_a_packet(packet: str, names: str) -> None:
    assert present(packet) == names.split()


@pytest.mark.parametrize(("packet", "names"), PACKETS)
def test_a_header_that_is_cut_is_absent_at_every_length(packet: str, names: str) -> None:
    frame = frame_of(packet)
    whole = parse_packet(HEADERS, frame).path
    for length in range(len(frame) + 1):
        expected = [placed.instance.name for placed in whole if placed.start + placed.size <= length]
        assert present_in(HEADERS, frame[:length]) == expected, length


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([frame_of(packet) for packet, _ in PACKETS]), st.data())
def test_no_frame_breaks_the_walk_and_every_header_lies_inside_it(frame: bytes, data: st.DataObject) -> None:
    broken = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    end, bound = 0, len(broken)
    for placed in parse_packet(HEADERS, bytes(broken)).path:
        assert placed.start == end
        assert placed.instance.length <= placed.size
        end = placed.start + placed.size
        assert end <= placed.end <= bound
        bound = placed.end


# ---- near misses, header by header


@pytest.mark.parametrize(
    ("packet", "names"),
    [
        # Ethernet and VLAN
        ("eth(type=0x0801) / ipv4 / tcp", "eth"),
        ("eth(type=0x8101) / vlan / ipv4", "eth"),
        ("eth / vlan(type=0x0801) / ipv4", "eth vlan"),
        ("eth / vlan / vlan / vlan / ipv4", "eth vlan vlan.inner"),
        # ARP for anything but IPv4 over Ethernet
        ("eth / arp(hardware_type=6)", "eth"),
        ("eth / arp(protocol_type=0x86dd)", "eth"),
        ("eth / arp(hardware_length=8)", "eth"),
        ("eth / arp(protocol_length=16)", "eth"),
        # IPv4
        ("eth / ipv4(version=5) / tcp", "eth"),
        ("eth / ipv4(version=6) / tcp", "eth"),
        ("eth / ipv4(ihl=4) / tcp", "eth"),
        ("eth / ipv4(ihl=0) / tcp", "eth"),
        ("eth / ipv4(length=20) / tcp", "eth ipv4"),
        ("eth / ipv4(length=19) / tcp", "eth"),
        ("eth / ipv4(length=0) / tcp", "eth"),
        ("eth / ipv4(length=39) / tcp", "eth ipv4"),
        ("eth / ipv4(length=40) / tcp", "eth ipv4 tcp"),
        ("eth / ipv4(length=65535) / tcp", "eth ipv4 tcp"),
        ("eth / ipv4(ihl=6, length=23) / payload(60)", "eth"),
        ("eth / ipv4(ihl=6, length=24) / payload(60)", "eth ipv4"),
        ("eth / ipv4(proto=7) / tcp", "eth ipv4"),
        ("eth / ipv4(proto=58) / payload(60)", "eth ipv4"),
        # fragments: the first has its ports, later ones do not
        ("eth / ipv4(more_fragments=1) / tcp", "eth ipv4 tcp"),
        ("eth / ipv4(fragment_offset=1) / tcp", "eth ipv4"),
        ("eth / ipv4(fragment_offset=0x1000) / udp", "eth ipv4"),
        ("eth / ipv4(fragment_offset=0x1fff, more_fragments=1) / udp", "eth ipv4"),
        ("eth / ipv4(dont_fragment=1) / udp", "eth ipv4 udp"),
        # IPv6
        ("eth / ipv6(version=4) / tcp", "eth"),
        ("eth / ipv6(version=7) / tcp", "eth"),
        ("eth / ipv6(length=0) / tcp", "eth ipv6"),
        ("eth / ipv6(length=19) / tcp", "eth ipv6"),
        ("eth / ipv6(length=20) / tcp", "eth ipv6 tcp"),
        ("eth / ipv6(length=65535) / tcp", "eth ipv6 tcp"),
        ("eth / ipv6(next=1) / payload(60)", "eth ipv6"),
        ("eth / ipv6(length=7) / ipv6_ext / tcp", "eth ipv6"),
        ("eth / ipv6(length=8) / ipv6_ext / tcp", "eth ipv6 ipv6_ext"),
        # IPv6 extension headers
        ("eth / ipv6(next=42) / ipv6_ext / tcp", "eth ipv6"),
        ("eth / ipv6(next=59) / ipv6_ext / tcp", "eth ipv6"),
        ("eth / ipv6(next=44) / ipv6_ext(more_fragments=1) / tcp", "eth ipv6 ipv6_ext tcp"),
        ("eth / ipv6(next=44) / ipv6_ext(fragment_offset=1) / tcp", "eth ipv6 ipv6_ext"),
        # what would be a fragment's offset is an option's byte in any other extension header
        ("eth / ipv6(next=60) / ipv6_ext(fragment_offset=1) / tcp", "eth ipv6 ipv6_ext tcp"),
        # a fragment header has 8 bytes, whatever stands in its second byte
        ("eth / ipv6(next=44) / ipv6_ext(length=255) / tcp", "eth ipv6 ipv6_ext tcp"),
        # TCP and UDP
        ("eth / ipv4 / tcp(offset=4)", "eth ipv4"),
        ("eth / ipv4 / tcp(offset=0)", "eth ipv4"),
        ("eth / ipv4(length=43) / tcp(offset=6)", "eth ipv4"),
        ("eth / ipv4(length=44) / tcp(offset=6)", "eth ipv4 tcp"),
        ("eth / ipv4 / udp(length=7)", "eth ipv4"),
        ("eth / ipv4 / udp(length=0)", "eth ipv4"),
        ("eth / ipv4 / udp(length=8)", "eth ipv4 udp"),
        ("eth / ipv4 / udp(length=65535)", "eth ipv4 udp"),
        # ICMP belongs to IPv4, ICMPv6 to IPv6
        ("eth / ipv4(length=27) / icmp", "eth ipv4"),
        ("eth / ipv4(length=28) / icmp", "eth ipv4 icmp"),
        ("eth / ipv6(length=7) / icmpv6", "eth ipv6"),
        ("eth / ipv6(length=8) / icmpv6", "eth ipv6 icmpv6"),
    ],
)
def test_near_misses(packet: str, names: str) -> None:
    assert present(packet) == names.split()


@pytest.mark.parametrize(("payload", "names"), [(2039, ["eth", "ipv6"]), (2040, ["eth", "ipv6", "ipv6_ext"])])
def test_the_longest_extension_header_must_lie_in_the_packet(payload: int, names: list[str]) -> None:
    frame = bytearray(frame_of(f"eth / ipv6(next=60) / ipv6_ext(next=6) / payload({payload})"))
    frame[14 + 40 + 1] = 255
    assert present_in(HEADERS, bytes(frame)) == names


@pytest.mark.parametrize("kind", [0, 43, 60, 135, 139, 140])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_extension_headers_are_as_long_as_they_say(kind: int, length: int) -> None:
    frame = frame_of(f"eth / ipv6(next={kind}) / ipv6_ext(length={length}) / tcp")
    path = parse_packet(HEADERS, frame).path
    assert path[2].size == (length + 1) * 8
    assert path[3].instance.name == "tcp"


@pytest.mark.parametrize("length", [0, 1, 4])
def test_an_authentication_header_counts_in_words_of_four_bytes(length: int) -> None:
    frame = frame_of(f"eth / ipv6(next=51) / ipv6_ext(length={length}) / tcp")
    path = parse_packet(HEADERS, frame).path
    assert path[2].size == (length + 2) * 4
    assert path[3].instance.name == "tcp"


@pytest.mark.parametrize("count", range(1, 11))
def test_eight_extension_headers_are_looked_through_and_no_more(count: int) -> None:
    names = present("eth / ipv6 / " + "ipv6_ext / " * count + "tcp")
    stack = ["ipv6_ext", "ipv6_ext.inner", *(f"ipv6_ext.{n}" for n in range(2, 8))]
    assert names == ["eth", "ipv6", *stack[:count], *(["tcp"] if count <= 8 else [])]


# ---- headers of a user's own


def test_padding_behind_an_extent_is_no_header() -> None:
    declaration = "header mark after udp when udp.dport == 9000 {\n value: u32\n}\n"
    headers = headers_of(declaration)
    padded = frame_of("eth / ipv4 / udp(dport=9000, length=11) / payload(40)")
    assert present_in(headers, padded) == ["eth", "ipv4", "udp"]
    assert present_in(headers, frame_of("eth / ipv4 / udp(dport=9000, length=12) / payload(40)"))[-1] == "mark"
    outside_ip = frame_of("eth / ipv4(length=31) / udp(dport=9000, length=48) / payload(40)")
    assert present_in(headers, outside_ip) == ["eth", "ipv4", "udp"]
    assert present_in(headers, frame_of("eth / ipv4(length=32) / udp(dport=9000, length=48) / payload(40)"))[-1] == "mark"


def test_the_first_declared_child_is_taken_and_no_other_is_tried_in_its_place() -> None:
    first = "header first after udp when udp.dport == 9000 {\n kind: u8\n verify kind == 1\n}\n"
    second = "header second after udp when udp.dport in 9000..9001 {\n kind: u8\n}\n"
    headers = headers_of(first + second)
    kind_one = frame_of('eth / ipv4 / udp(dport=9000) / bytes("01")')
    kind_two = frame_of('eth / ipv4 / udp(dport=9000) / bytes("02")')
    other_port = frame_of('eth / ipv4 / udp(dport=9001) / bytes("02")')
    assert present_in(headers, kind_one)[-1] == "first"
    assert present_in(headers, kind_two)[-1] == "udp"
    assert present_in(headers, other_port)[-1] == "second"
    assert present_in(headers_of(second + first), kind_one)[-1] == "second"


def test_a_size_below_the_declared_fields_is_malformed() -> None:
    headers = headers_of("header sized size words * 4 after udp when udp.dport == 9000 {\n words: u8\n _: u56\n}\n")
    for words, there in ((0, False), (1, False), (2, True), (4, True), (5, False)):
        frame = frame_of(f'eth / ipv4 / udp(dport=9000) / bytes("{words:02x}") / payload(15)')
        assert ("sized" in present_in(headers, frame)) == there, words


# ---- reading


def test_fields_are_read_in_network_bit_order() -> None:
    packet = parse_packet(
        HEADERS,
        frame_of(
            "eth / vlan(priority=5, drop_eligible=1, id=0xabc) / ipv4(dscp=46, ecn=1, fragment_offset=0, dont_fragment=1) / tcp"
        ),
    )
    assert packet.frame[14:16] == b"\xba\xbc"
    values = {
        "vlan.priority": 5,
        "vlan.drop_eligible": 1,
        "vlan.id": 0xABC,
        "ipv4.version": 4,
        "ipv4.ihl": 5,
        "ipv4.dscp": 46,
        "ipv4.ecn": 1,
        "ipv4.dont_fragment": 1,
        "ipv4.more_fragments": 0,
        "tcp.offset": 5,
        "l4.dport": 80,
    }
    for name, value in values.items():
        header, field = name.split(".")
        assert packet.read(FieldRef(header, field)) == value, name


def test_writing_leaves_the_bits_beside_a_field() -> None:
    packet = parse_packet(HEADERS, frame_of("eth / vlan(priority=7, id=0xfff) / ipv4"))
    packet.write(FieldRef("vlan", "drop_eligible"), 1)
    assert packet.frame[14:16] == b"\xff\xff"
    packet.write(FieldRef("vlan", "id"), 0)
    assert packet.frame[14:16] == b"\xf0\x00"
    packet.write(FieldRef("vlan", "priority"), 0)
    assert packet.frame[14:16] == b"\x10\x00"


def test_a_field_of_an_absent_header_has_no_value() -> None:
    packet = parse_packet(HEADERS, frame_of("eth / ipv4 / icmp"))
    with pytest.raises(AbsentHeader, match="l4 is absent"):
        packet.read(FieldRef("l4", "sport"))
    assert not packet.present("l4")
    assert packet.present("ipv4")
