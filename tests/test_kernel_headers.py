"""Each header of the prelude in the kernel, at XDP and TC: every bit of every field read, every field written, every sum moved.

What a frame holds is told by scapy and by the layouts of the RFCs that stand here, not by the prelude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption, fragment, in4_chksum
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, in6_chksum
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import checksum

from pcnc.rules import MaskedValue, Rule
from tests.agreement import Agreement
from tests.frames import arp, ethernet, ip4, ip6

pytestmark = pytest.mark.kernel

ETHERNET = "dst:48 src:48 type:16"
TAG = "priority:3 drop_eligible:1 id:12 type:16"
ARP_FIELDS = (
    "hardware_type:16 protocol_type:16 hardware_length:8 protocol_length:8 op:16 "
    "sender_mac:48 sender_ip:32 target_mac:48 target_ip:32"
)
IPV4 = (
    "version:4 ihl:4 dscp:6 ecn:2 length:16 id:16 _:1 dont_fragment:1 more_fragments:1 fragment_offset:13 ttl:8 proto:8 "
    "checksum:16 src:32 dst:32"
)
IPV6 = "version:4 traffic_class:8 flow_label:20 length:16 next:8 hop_limit:8 src:128 dst:128"
FRAGMENT = "next:8 length:8 fragment_offset:13 _:2 more_fragments:1 id:32"
TCP_FIELDS = "sport:16 dport:16 seq:32 ack:32 offset:4 _:4 flags:8 window:16 checksum:16 urgent:16"
UDP_FIELDS = "sport:16 dport:16 length:16 checksum:16"
ICMP_FIELDS = "type:8 code:8 checksum:16 id:16 sequence:16"


@dataclass(frozen=True)
class Case:
    """A header, where it begins in a frame, its layout, the fields that can be written, and the header to ask for first."""

    header: str
    start: int
    layout: str
    writable: str
    frame: bytes

    def __str__(self) -> str:
        return self.header

    def fields(self) -> Iterator[tuple[str, int, int]]:
        """Name, first bit (of the frame) and width of each field."""
        at = self.start * 8
        for item in self.layout.split():
            name, _, bits = item.partition(":")
            yield name, at, int(bits)
            at += int(bits)

    def field(self, wanted: str) -> tuple[int, int]:
        return next((at, bits) for name, at, bits in self.fields() if name == wanted)


def read(frame: bytes, at: int, bits: int) -> int:
    return int.from_bytes(frame) >> len(frame) * 8 - at - bits & (1 << bits) - 1


def write(frame: bytes, at: int, bits: int, value: int) -> bytes:
    shift = len(frame) * 8 - at - bits
    whole = int.from_bytes(frame) & ~((1 << bits) - 1 << shift) | value << shift
    return whole.to_bytes(len(frame))


DATA = Raw(b"some data, odd")
SEGMENT = TCP(sport=40001, dport=40002, seq=0x12345678, ack=0x9ABCDEF0, flags=0x52, window=0x5A5A, urgptr=0xA5A5) / DATA
DATAGRAM = UDP(sport=40001, dport=40003) / DATA
V4: dict[str, Any] = {"tos": 0xB9, "id": 0xBEEF, "flags": 2, "ttl": 77, "src": "10.1.2.3", "dst": "203.0.113.77"}
V6: dict[str, Any] = {"tc": 0xB9, "fl": 0xABCDE, "hlim": 77, "src": "2001:db8:1:2:3:4:5:6", "dst": "fd00:8765:4321::f00d"}
ADDRESSES = {"hwsrc": "02:11:22:33:44:55", "psrc": "10.1.2.3", "hwdst": "06:66:77:88:99:aa", "pdst": "203.0.113.77"}
TWO_TAGS = [Dot1AD(prio=5, dei=1, vlan=0xABC), Dot1Q(prio=2, dei=0, vlan=0x543)]
FRAGMENT_HEADER = IPv6ExtHdrFragment(nh=17, id=0x89ABCDEF, m=1)
CASES = [
    Case("eth", 0, ETHERNET, "dst src", ethernet(ip4(), src="02:11:22:33:44:55", dst="06:66:77:88:99:aa")),
    Case("vlan", 14, TAG, "priority drop_eligible id", ethernet(*TWO_TAGS, ip4())),
    Case("vlan.inner", 18, TAG, "priority drop_eligible id", ethernet(*TWO_TAGS, ip4())),
    Case("arp", 14, ARP_FIELDS, "op sender_mac sender_ip target_mac target_ip", ethernet(arp(op=2, **ADDRESSES))),
    Case("ipv4", 14, IPV4, "dscp ecn id dont_fragment more_fragments ttl src dst", ethernet(ip4(**V4), SEGMENT)),
    Case("ipv4", 14, IPV4, "ttl src dst", ethernet(ip4(**V4), DATAGRAM)),
    Case("ipv4", 18, IPV4, "ttl src dst more_fragments", ethernet(Dot1Q(), ip4(**V4), ICMP() / DATA)),
    Case("ipv6", 14, IPV6, "traffic_class flow_label hop_limit src dst", ethernet(ip6(**V6), SEGMENT)),
    Case("ipv6", 14, IPV6, "src dst", ethernet(ip6(**V6), DATAGRAM)),
    Case("ipv6_ext", 54, FRAGMENT, "more_fragments id", ethernet(ip6(**V6), FRAGMENT_HEADER, Raw(bytes(24)))),
    Case("tcp", 34, TCP_FIELDS, "sport dport seq ack flags window urgent", ethernet(ip4(**V4), SEGMENT)),
    Case("tcp", 54, TCP_FIELDS, "sport seq flags", ethernet(ip6(**V6), SEGMENT)),
    Case("tcp", 38, TCP_FIELDS, "dport flags", ethernet(ip4(ihl=6, options=[IPOption(b"\x94\x04\0\0")], **V4), SEGMENT)),
    Case("udp", 34, UDP_FIELDS, "sport dport", ethernet(ip4(**V4), DATAGRAM)),
    Case("udp", 54, UDP_FIELDS, "sport dport", ethernet(ip6(**V6), DATAGRAM)),
    Case("udp", 62, UDP_FIELDS, "sport dport", ethernet(ip6(**V6), IPv6ExtHdrDestOpt(), DATAGRAM)),
    Case("l4", 34, "sport:16 dport:16", "sport dport", ethernet(ip4(**V4), SEGMENT)),
    Case("l4", 62, "sport:16 dport:16", "sport dport", ethernet(*TWO_TAGS, ip6(**V6), DATAGRAM)),
    Case("icmp", 34, ICMP_FIELDS, "type code id sequence", ethernet(ip4(**V4), ICMP(type=13, code=3, id=0x1234, seq=7), DATA)),
    Case("icmpv6", 54, ICMP_FIELDS, "type code id sequence", ethernet(ip6(nh=58, **V6), Raw(b"\x80\x01\0\0\x12\x34\x56\x78ab"))),
]
IDS = [f"{case.header}-{index}" for index, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_bit_of_every_field_is_read(case: Case) -> None:
    """A rule asks for the value of each field; whichever bit of them is another one, the rule does not match."""
    named = [(name, at, bits) for name, at, bits in case.fields() if name != "_"]
    columns = ", ".join(f"{case.header}.{name}: exact" for name, _, _ in named)
    text = f"service s {{\n table t {{\n match {columns}\n action next\n count packets\n }}\n chain ingress {{ t }}\n}}\n"
    matches = tuple(MaskedValue(read(case.frame, at, bits), (1 << bits) - 1) for _, at, bits in named)
    end = max(at + bits for _, at, bits in case.fields())
    with Agreement(text, general=False) as tried:
        tried.set_rules("t", [Rule(matches, "next")])
        assert tried.hits(case.frame) == {"t": 1}
        for bit in range(case.start * 8, end):
            padding = not any(at <= bit < at + bits for _, at, bits in named)
            assert tried.hits(write(case.frame, bit, 1, 1 - read(case.frame, bit, 1))) == {"t": int(padding)}, bit
        for length in range(14, len(case.frame)):
            if length * 8 < end:
                assert tried.hits(case.frame[:length]) == {"t": 0}, length


# ---- writing

SUMS = {6: 16, 17: 6, 1: 2, 58: 2}
"""By protocol, at which byte of its header the checksum stands."""


def network(frame: bytes) -> tuple[Packet, int, int, int] | None:
    """The IP header of a frame, its first byte, that of the transport, and its protocol."""
    parsed = Ether(frame)
    for kind in (IP, IPv6):
        if kind in parsed:
            ip = parsed[kind]
            start = len(frame) - len(bytes(ip.original))
            if kind is IP:
                return ip, start, start + ip.ihl * 4, ip.proto
            extension = 8 if ip.nh in (44, 60) else 0
            return ip, start, start + 40 + extension, frame[start + 40] if extension else ip.nh
    return None


def with_sums(frame: bytes) -> bytes:
    """The frame with its checksums computed from nothing, by scapy."""
    found = network(frame)
    if found is None:
        return frame
    ip, start, transport, protocol = found
    if isinstance(ip, IP):
        end = start + ip.len
        head = write(frame[start:transport], 80, 16, 0)
        frame = write(frame, start * 8 + 80, 16, checksum(head))
        ip.len, ip.options, ip.ihl = 20, [], 5
    else:
        end = start + 40 + ip.plen
    if protocol not in SUMS or (isinstance(ip, IPv6) and ip.nh == 44):
        return frame
    at = (transport + SUMS[protocol]) * 8
    body = write(frame, at, 16, 0)[transport:end]
    if protocol == 1:
        made = checksum(body)
    elif isinstance(ip, IP):
        made = in4_chksum(protocol, IP(src=ip.src, dst=ip.dst), body)
    else:
        made = in6_chksum(protocol, IPv6(src=ip.src, dst=ip.dst), body)  # type: ignore[no-untyped-call]  # scapy does not say
    return write(frame, at, 16, 0xFFFF if protocol == 17 and made == 0 else made)


def setters(case: Case) -> str:
    """A service whose rules choose by `eth.src` what to write where."""
    names = case.writable.split()
    actions = "".join(
        f" action set_{name}(value: {type_of(case, name)}) {{ if {case.header} {{ {case.header}.{name} = value }} }}\n"
        for name in names
    )
    listed = ", ".join(f"set_{name}" for name in names)
    table = f" table t {{\n match eth.src: exact\n action {listed}\n }}\n"
    return f"service s {{\n{actions}{table} chain ingress {{ t }}\n}}\n"


def type_of(case: Case, name: str) -> str:
    _, bits = case.field(name)
    if bits in (48, 128) or (bits == 32 and name in ("src", "dst", "sender_ip", "target_ip")):
        return {48: "mac_addr", 128: "ipv6_addr", 32: "ipv4_addr"}[bits]
    enums = {"arp.op": "arp_op", "tcp.flags": "tcp_flags", "icmp.type": "icmp_type", "icmpv6.type": "icmpv6_type"}
    return enums.get(f"{case.header}.{name}", f"u{bits}")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_field_is_written_and_nothing_beside_it(case: Case) -> None:
    random = Random(case.header)
    frame = with_sums(case.frame)
    assert frame == with_sums(frame)
    orders: list[tuple[str, int]] = []
    for name in case.writable.split():
        at, bits = case.field(name)
        old = read(frame, at, bits)
        values = (0, (1 << bits) - 1, old, old ^ 1, old ^ 1 << bits - 1, random.getrandbits(bits), random.getrandbits(bits))
        orders += [(name, value) for value in dict.fromkeys(values)]
    with Agreement(setters(case), general=False) as tried:
        selected = [Rule((MaskedValue(n, (1 << 48) - 1),), f"set_{name}", (value,)) for n, (name, value) in enumerate(orders)]
        tried.set_rules("t", selected)
        for number, (name, value) in enumerate(orders):
            sent = write(frame, 48, 48, number)
            wanted = with_sums(write(sent, *case.field(name), value))
            assert tried.run(sent).frame.hex() == wanted.hex(), (name, value)


# ---- checksums of packets that are not whole, not right, or have none

REWRITE = """
service rewrite {
    chain ingress {
        stage change {
            if ipv4 { ipv4.src = 198.51.100.200; ipv4.ttl -= 1; ipv4.dscp = 12 }
            if ipv6 { ipv6.dst = 2001:db8:ffff::1; ipv6.hop_limit -= 1 }
            if l4 { l4.dport = 47000; l4.sport += 1 }
            if tcp { tcp.window = 0xffff; tcp.flags |= psh }
            if icmp { icmp.id = 0xfeed }
            if icmpv6 { icmpv6.sequence -= 1 }
        }
    }
}
"""


@pytest.fixture(scope="module")
def rewrite() -> Iterator[Agreement]:
    with Agreement(REWRITE, general=False) as made:
        yield made


def transports() -> list[Packet]:
    return [SEGMENT, DATAGRAM, ICMP() / DATA]


@pytest.mark.parametrize("words", range(11))
def test_sums_move_behind_options_of_every_length(rewrite: Agreement, words: int) -> None:
    for transport in transports():
        ip = ip4(options=[IPOption(b"\x94" + bytes([words * 4]) + bytes(words * 4 - 2))] if words else [], **V4)
        for padding in (b"", b"\xff", b"\xff" * 9):
            frame = ethernet(ip, transport) + padding
            assert frame[14] == 0x45 + words
            left = rewrite.run(frame).frame
            assert left.hex() == with_sums(left).hex()
            assert left[26:30] == bytes([198, 51, 100, 200])
            if not isinstance(transport, ICMP):
                assert left[36 + words * 4 : 38 + words * 4] == (47000).to_bytes(2)


def test_sums_move_over_ipv6_and_its_extension_headers(rewrite: Agreement) -> None:
    for transport in (SEGMENT, DATAGRAM, Raw(b"\x80\0\0\0\x12\x34\0\0data")):
        for extension in ([], [IPv6ExtHdrDestOpt()]):
            kind: dict[str, Any] = {} if not isinstance(transport, Raw) else {"nh": 58}
            layers = [ip6(**V6, **({} if extension else kind)), *(IPv6ExtHdrDestOpt(**kind) for _ in extension), transport]
            left = rewrite.run(with_sums(ethernet(*layers))).frame
            assert left.hex() == with_sums(left).hex()
            assert left[38:54].hex() == "20010db8ffff00000000000000000001"


def test_the_sum_of_a_datagram_is_right_when_its_fragments_are_put_together_again(rewrite: Agreement) -> None:
    for transport in (TCP(sport=40001, dport=40002), UDP(sport=40001, dport=40003)):
        whole = bytes(ip4(**{**V4, "flags": 0}) / transport / Raw(bytes(range(1, 200))))
        pieces = [rewrite.run(ethernet(piece)).frame for piece in fragment(IP(whole), fragsize=64)]  # type: ignore[no-untyped-call]  # ditto
        assert len(pieces) == 4
        body = b"".join(bytes(Ether(piece)[IP].payload)[: Ether(piece)[IP].len - 20] for piece in pieces)
        for piece in pieces:
            assert checksum(piece[14:34]) == 0, "the IPv4 sum of each is right"
        assert in4_chksum(Ether(pieces[0]).proto, IP(src="198.51.100.200", dst=V4["dst"]), body) == 0
        assert body[2:4] == (47000).to_bytes(2)
        assert body[40:] == whole[60:], "what later fragments carry is not touched"


@pytest.mark.parametrize("given", [0, 1, 0x1234, 0xFFFE, 0xFFFF])
def test_a_wrong_sum_stays_as_wrong_and_none_stays_none(rewrite: Agreement, given: int) -> None:
    for ip, at in ((ip4(**V4), 40), (ip6(**V6), 60)):
        frame = with_sums(ethernet(ip, DATAGRAM))
        broken = write(frame, at * 8, 16, given)
        right = read(rewrite.run(frame).frame, at * 8, 16)
        left = read(rewrite.run(broken).frame, at * 8, 16)
        if given == 0 and at == 40:
            assert left == 0, "over IPv4 a 0 says that there is none (RFC 768)"
            continue
        assert left != 0
        assert (left - right) % 0xFFFF == (given - read(frame, at * 8, 16)) % 0xFFFF


def test_a_sum_that_comes_to_nothing_is_0_and_over_udp_0xffff(rewrite: Agreement) -> None:
    """The last word of each packet is chosen so that the sum behind the rewriting has no bit left."""
    cases = [
        (ip4(**V4), TCP(sport=40001, dport=40002), 50),
        (ip4(**V4), UDP(sport=40001, dport=40003), 40),
        (ip6(**V6), UDP(sport=40001, dport=40003), 60),
        (ip4(**V4), ICMP(), 36),
        (ip6(nh=58, **V6), Raw(b"\x80\0\0\0\0\1\0\2"), 56),
    ]
    for ip, transport, at in cases:
        wanted = 0xFFFF if isinstance(transport, UDP) else 0
        open_sum = read(rewrite.run(with_sums(ethernet(ip, transport, Raw(bytes(20))))).frame, at * 8, 16)
        frame = with_sums(ethernet(ip, transport, Raw(bytes(18) + open_sum.to_bytes(2))))
        assert read(rewrite.run(frame).frame, at * 8, 16) == wanted, transport
    open_sum = read(rewrite.run(with_sums(ethernet(ip4(**{**V4, "id": 0})))).frame, 24 * 8, 16)
    assert read(rewrite.run(with_sums(ethernet(ip4(**{**V4, "id": open_sum})))).frame, 24 * 8, 16) == 0


def test_a_sum_of_all_ones_is_0_once_it_has_moved() -> None:
    """The one case in which the equation of RFC 1624 would leave 0xffff: all ones become nothing, and the sum was all ones."""
    with Agreement("service s { chain ingress { stage s { if icmp { icmp.id += 1 } } } }", general=False) as tried:
        for given, wanted in ((0xFFFF, 0), (0, 0), (0x1234, 0x1234)):
            frame = ethernet(ip4(), ICMP(id=0xFFFF, chksum=given))
            assert read(tried.run(frame).frame, 36 * 8, 16) == wanted
