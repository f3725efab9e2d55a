"""Test packets: what is filled in, checked against scapy, and what is said where a packet cannot be built."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from pcnc.expression import Expression, FieldRef
from pcnc.packet import build
from pcnc.packet_defaults import DEFAULTS
from pcnc.parse_packet import parse_packet
from pcnc.program_tests import LayerValues, PacketTemplate, Payload
from pcnc.solve import invert, satisfy
from tests.pcn_text import frame_of, headers_of, program_of

pytestmark = pytest.mark.text

HEADERS = headers_of()
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.0.2.1", dst="192.0.2.2", id=0)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
SYN = TCP(sport=1024, dport=80, flags="S", window=65535)
DNS = UDP(sport=1024, dport=53)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        ("eth / ipv4 / tcp", ETHER / V4 / SYN),
        ("eth / ipv4 / udp / payload(100)", ETHER / V4 / DNS / Raw(bytes(100))),
        ('eth / ipv4 / udp / bytes("0a 0b 0c")', ETHER / V4 / DNS / Raw(b"\x0a\x0b\x0c")),
        ("eth / ipv4 / icmp", ETHER / V4 / ICMP(type=8)),
        ("eth / ipv6 / tcp", ETHER / V6 / SYN),
        ("eth / ipv6 / udp / payload(7)", ETHER / V6 / DNS / Raw(bytes(7))),
        ("eth / ipv6 / icmpv6 / payload(3)", ETHER / V6 / ICMPv6EchoRequest(data=bytes(3))),
        ("eth / vlan(id=7, priority=3) / ipv4 / tcp", ETHER / Dot1Q(vlan=7, prio=3) / V4 / SYN),
        ("eth(type=0x88a8) / vlan / vlan(id=2) / ipv4 / tcp", ETHER / Dot1AD(vlan=1) / Dot1Q(vlan=2) / V4 / SYN),
        ("eth / ipv6(next=44) / ipv6_ext(id=9, more_fragments=1) / udp", ETHER / V6 / IPv6ExtHdrFragment(id=9, m=1) / DNS),
        (
            "eth / ipv4(more_fragments=1) / udp",
            ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=0, flags="MF") / DNS,
        ),
    ],
)
def test_packets_are_those_of_scapy(packet: str, expected: ScapyPacket) -> None:
    assert frame_of(packet).hex() == bytes(expected).hex()


def test_arp_asks_for_an_ipv4_address() -> None:
    frame = frame_of("eth / arp(sender_ip=10.0.0.1, target_ip=10.0.0.2, sender_mac=02:00:00:00:00:01)")
    arp = ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="10.0.0.1", pdst="10.0.0.2", hwdst="00:00:00:00:00:00")
    assert frame == bytes(ETHER / arp)


def test_options_are_zeros() -> None:
    frame = frame_of("eth / ipv4(ihl=7) / tcp(offset=8) / payload(2)")
    options = IP(src="192.0.2.1", dst="192.0.2.2", id=0, options=[b"\0" * 8])
    expected = bytes(
        ETHER / options / TCP(sport=1024, dport=80, flags="S", window=65535, options=[("EOL", None)] * 12) / Raw(bytes(2))
    )
    assert frame.hex() == expected.hex()


def test_the_pseudo_header_behind_extension_headers_names_the_last_protocol() -> None:
    frame = frame_of("eth / ipv6(next=0) / ipv6_ext(next=60) / ipv6_ext / udp / payload(1)")
    parsed = Ether(frame)
    assert isinstance(parsed[IPv6].payload, IPv6ExtHdrHopByHop)
    assert isinstance(parsed[IPv6].payload.payload, IPv6ExtHdrDestOpt)
    stored = parsed[UDP].chksum
    del parsed[UDP].chksum
    assert Ether(bytes(parsed))[UDP].chksum == stored


numbers = st.integers(0, 65535)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**128 - 1),
    numbers,
    numbers,
    st.binary(max_size=40),
    st.sampled_from(["ipv4", "ipv6"]),
    st.sampled_from(["tcp", "udp"]),
)
def test_lengths_and_sums_are_those_of_scapy(
    address: int, wide: int, sport: int, dport: int, data: bytes, ip: str, transport: str
) -> None:
    layers = (
        LayerValues("eth", ()),
        LayerValues(ip, (("src", address if ip == "ipv4" else wide),)),
        LayerValues(transport, (("sport", sport), ("dport", dport))),
        Payload(data),
    )
    frame = build(HEADERS, PacketTemplate(layers, None))
    parsed = Ether(frame)
    for layer, names in ((IP, ("chksum", "len")), (IPv6, ("plen",)), (TCP, ("chksum",)), (UDP, ("chksum", "len"))):
        if layer in parsed:
            for name in names:
                delattr(parsed[layer], name)
    assert bytes(parsed) == frame


def test_a_udp_checksum_of_zero_is_written_as_all_ones() -> None:
    first = frame_of("eth / ipv4 / udp(sport=0)")
    stored = int.from_bytes(first[40:42], "big")
    assert frame_of(f"eth / ipv4 / udp(sport={stored})")[40:42] == b"\xff\xff"
    assert frame_of(f"eth / ipv4 / udp(sport={stored}, checksum=0)")[40:42] == b"\0\0"


# ---- what is given stands


def test_given_values_win_over_those_filled_in() -> None:
    frame = frame_of(
        "eth(type=0x1234, src=02:00:00:00:00:09) / ipv4(proto=7, length=9, checksum=1, ihl=6)"
        " / udp(length=3, checksum=2) / payload(4)"
    )
    assert frame[6:12] == bytes.fromhex("020000000009")
    assert frame[12:14] == b"\x12\x34"
    assert (frame[14], frame[16:18], frame[23], frame[24:26]) == (0x46, b"\0\x09", 7, b"\0\x01")
    assert frame[38 + 4 : 38 + 8] == b"\0\x03\0\x02"
    assert len(frame) == 14 + 24 + 8 + 4


def test_a_header_stated_too_small_keeps_its_fields() -> None:
    assert len(frame_of("eth / ipv4(ihl=4) / tcp(offset=0)")) == 14 + 20 + 20


def test_a_checksum_leaves_padding_behind_a_stated_length_out() -> None:
    short = frame_of("eth / ipv4 / udp / payload(3)")
    padded = frame_of('eth / ipv4(length=31) / udp(length=11) / bytes("000000 ffffffff")')
    assert padded == short + b"\xff" * 4
    only_ip_says_so = frame_of('eth / ipv4(length=43) / tcp / bytes("000000 ffffffff")')
    assert only_ip_says_so == frame_of("eth / ipv4 / tcp / payload(3)") + b"\xff" * 4


def test_truncate_cuts_the_finished_frame() -> None:
    whole = frame_of("eth / ipv4 / udp / payload(100)")
    for length in (0, 1, 13, 14, 33, 42, 100):
        assert frame_of(f"eth / ipv4 / udp / payload(100) / truncate({length})") == whole[:length]
    assert frame_of("eth / ipv4 / udp / payload(100) / truncate(9000)") == whole


def test_raw_bytes_alone_are_a_frame() -> None:
    assert frame_of('bytes("0102030405")') == b"\1\2\3\4\5"
    assert build(HEADERS, PacketTemplate((), None)) == b""


def test_what_follows_nothing_says_so() -> None:
    assert frame_of("eth / payload(4)")[12:14] == b"\x88\xb5"
    assert frame_of("eth / vlan")[16:18] == b"\x88\xb5"
    assert frame_of("eth / ipv4")[23] == 253
    assert frame_of("eth / ipv6")[20] == 59


def test_a_stack_may_be_deeper_than_parsing_looks() -> None:
    frame = frame_of("eth / vlan(id=1) / vlan(id=2) / vlan(id=3) / ipv4")
    assert frame == bytes(
        ETHER / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / IP(src="192.0.2.1", dst="192.0.2.2", id=0, proto=253)
    )


# ---- headers of a user's own


def test_what_makes_a_users_header_follow_and_be_well_formed_is_filled_in() -> None:
    declaration = """
    header gtpu size 8 + 4 * u8(extended) after udp when udp.dport == 2152 {
        version: u3
        protocol_type: u1
        _: u3
        extended: u1
        message_type: u8
        length: u16
        teid: u32
        verify version == 1 and message_type >= 255
        extent length + 8
    }
    """
    frame = frame_of("eth / ipv4 / udp / gtpu(teid=7, extended=1) / payload(5)", declaration)
    assert frame[36:38] == (2152).to_bytes(2, "big")
    assert frame[42:] == bytes.fromhex("21 ff 0009 00000007 00000000 0000000000")
    assert [placed.instance.name for placed in parse_packet(headers_of(declaration), frame).path][-1] == "gtpu"
    assert frame_of("eth / ipv4 / udp(dport=9) / gtpu(version=0)", declaration)[42] == 0


def test_a_length_that_cannot_be_found_has_to_be_given() -> None:
    declaration = "header half after udp when udp.dport == 9 {\n length: u8\n kind: u8\n extent length / 2\n}\n"
    with pytest.raises(ValueError, match="no value of half's fields states a length of 4 bytes; give them"):
        frame_of("eth / ipv4 / udp / half / payload(2)", declaration)
    assert frame_of("eth / ipv4 / udp / half(length=8) / payload(2)", declaration)[42] == 8


# ---- what cannot be built


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((LayerValues("ipv4", ()),), "a packet does not begin with ipv4"),
        ((LayerValues("eth", ()), LayerValues("tcp", ())), "tcp does not follow eth; it follows ipv4, ipv6, ipv6_ext"),
        ((LayerValues("eth", ()), LayerValues("nothing", ())), "there is no header nothing"),
        ((LayerValues("eth", (("colour", 1),)),), "eth has no field colour"),
        ((LayerValues("eth", ()), LayerValues("vlan", (("id", 4096),))), "vlan.id: 4096 does not fit 12 bits"),
        ((LayerValues("eth", ()), LayerValues("vlan", (("id", -1),))), "vlan.id: -1 does not fit 12 bits"),
        ((LayerValues("eth", ()), Payload(b"x"), LayerValues("ipv4", ())), "ipv4 stands behind the payload"),
        (
            (LayerValues("eth", ()), LayerValues("ipv4", ()), Payload(bytes(65516))),
            "ipv4 with what it carries is 65536 bytes long, more than ipv4.length states",
        ),
    ],
)
def test_what_cannot_be_built_is_told(layers: tuple[LayerValues | Payload, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(HEADERS, PacketTemplate(layers, None))


def test_the_longest_packet() -> None:
    layers = (LayerValues("eth", ()), LayerValues("ipv4", ()), Payload(bytes(65515)))
    assert len(build(HEADERS, PacketTemplate(layers, None))) == 14 + 65535


def test_every_default_is_that_of_a_field_of_the_prelude() -> None:
    for (header, field), value in DEFAULTS.items():
        declared = HEADERS.instance(header).field(field)
        assert value <= declared.type.maximum


# ---- solving


def condition(text: str) -> Expression:
    program, _ = program_of(f"header h after eth when {text} {{\n a: u8\n}}\nservice s {{\n chain ingress {{\n }}\n}}")
    found = program.headers.instance("h").parents[0].condition
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("eth.type == 7", {"type": 7}),
        ("7 == eth.type", {"type": 7}),
        ("eth.type >= 7", {"type": 7}),
        ("eth.type > 7", {"type": 8}),
        ("7 < eth.type", {"type": 8}),
        ("eth.type in (9, 8)", {"type": 9}),
        ("eth.type in 5..6", {"type": 5}),
        ("eth.type == 7 and eth.src == 02:00:00:00:00:05", {"type": 7, "src": 0x020000000005}),
        ("eth.type == 7 and eth.src != 02:00:00:00:00:05", {"type": 7}),
        ("eth.type != 7 or eth.type == 9", {"type": 9}),
        ("eth.type == 3 or eth.type == 9", {"type": 3}),
    ],
)
def test_conditions_are_solved(text: str, values: dict[str, int]) -> None:
    assert satisfy(condition(text)) == {FieldRef("eth", name): value for name, value in values.items()}


@pytest.mark.parametrize("text", ["eth.type != 7", "eth.type < 7", "eth.type & 1 == 1"])
def test_other_conditions_are_not(text: str) -> None:
    assert satisfy(condition(text)) is None


@pytest.mark.parametrize(
    ("extent", "value"),
    [("a", 48), ("a + 8", 40), ("8 + a", 40), ("a - 2", 50), ("a * 4", 12), ("4 * a + 8", 10), ("a << 3", 6), ("(a + 1) * 8", 5)],
)
def test_extents_are_inverted(extent: str, value: int) -> None:
    text = f"header h after eth when eth.type == 7 {{\n a: u8\n extent {extent}\n}}\nservice s {{\n chain ingress {{\n }}\n}}"
    program, _ = program_of(text)
    found = program.headers.instance("h").extent
    assert found is not None
    assert invert(found, 48) == {FieldRef("h", "a"): value}


def test_an_extent_that_no_value_gives() -> None:
    text = "header h after eth when eth.type == 7 {\n a: u8\n extent a * 4\n}\nservice s {\n chain ingress {\n }\n}"
    program, _ = program_of(text)
    found = program.headers.instance("h").extent
    assert found is not None
    assert invert(found, 47) is None
