"""Odd, broken and cut packets in the kernel, at XDP and TC: which headers are there, and which ports are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest
from scapy.layers.inet import ICMP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q
from scapy.packet import Packet, Raw

from tests.agreement import Agreement
from tests.frames import arp, ethernet, ip4, ip6

pytestmark = pytest.mark.kernel

NAMES = "vlan vlan.inner arp ipv4 ipv6 ipv6_ext ipv6_ext.inner tcp udp icmp icmpv6 probe".split()
LOOK = (
    """
header probe after udp when udp.dport == 9000 { value: u32 }
service look {
    meta found: u48
    chain ingress {
        stage look {
"""
    + "".join(f"            if {name} {{ found |= {1 << bit} }}\n" for bit, name in enumerate(NAMES))
    + """
            if l4 { eth.src = mac_addr(u48(l4.sport) << 16 | l4.dport) } else { eth.src = 00:00:00:00:00:00 }
            eth.dst = mac_addr(found)
        }
    }
}
"""
)


@pytest.fixture(scope="module")
def look() -> Iterator[Agreement]:
    with Agreement(LOOK, general=False) as made:
        yield made


def seen(look: Agreement, frame: bytes) -> str:
    """The headers found in a frame, and the ports read; everywhere the same."""
    left = look.run(frame).frame
    assert left[12:] == frame[12:]
    found = int.from_bytes(left[:6])
    names = [name for bit, name in enumerate(NAMES) if found >> bit & 1]
    return " ".join([*names, *([f"{left[8] << 8 | left[9]}:{left[10] << 8 | left[11]}"] if any(left[6:12]) else [])])


SEGMENT, DATAGRAM, ECHO = TCP(sport=11, dport=22), UDP(sport=11, dport=22), ICMP()
T, U = "ipv4 tcp 11:22", "ipv4 udp 11:22"


def tcp(offset: int, options: int = 0) -> Packet:
    """A TCP header that says it is so long, and has so many bytes of options."""
    return TCP(sport=11, dport=22, dataofs=offset) / Raw(bytes(options))


def ip4_with(payload: Packet | bytes, **fields: Any) -> bytes:
    return ethernet(ip4(**fields), Raw(bytes(payload)))


def options(words: int) -> dict[str, Any]:
    return {"options": [IPOption(b"\x94" + bytes([words * 4]) + bytes(words * 4 - 2))] if words else []}


CASES: list[tuple[str, bytes, str]] = [
    *((f"ipv4 with {n} words of options", ethernet(ip4(**options(n)), SEGMENT), T) for n in range(11)),
    *((f"ipv4 with {n} words of options, udp", ethernet(ip4(**options(n)), DATAGRAM), U) for n in range(11)),
    *((f"ihl {n}", ethernet(ip4(ihl=n, proto=6), Raw(bytes(60))), "") for n in range(5)),
    *((f"version {n}", ethernet(ip4(version=n), SEGMENT), T if n == 4 else "") for n in range(16)),
    # fragments: the first has its ports, later ones do not
    ("first fragment", ethernet(ip4(flags="MF"), SEGMENT), T),
    ("don't fragment", ethernet(ip4(flags="DF"), SEGMENT), T),
    ("evil bit", ethernet(ip4(flags="evil"), SEGMENT), T),
    *((f"fragment at {1 << n}", ethernet(ip4(frag=1 << n, flags="MF" if n % 2 else 0), SEGMENT), "ipv4") for n in range(13)),
    # total length
    ("length 0", ethernet(ip4(len=0), SEGMENT), ""),
    ("length 19", ethernet(ip4(len=19), SEGMENT), ""),
    ("length 20", ethernet(ip4(len=20), SEGMENT), "ipv4"),
    ("length 39", ethernet(ip4(len=39), SEGMENT), "ipv4"),
    ("length 40", ethernet(ip4(len=40), SEGMENT), T),
    ("length 27, udp", ethernet(ip4(len=27), DATAGRAM), "ipv4"),
    ("length 28, udp", ethernet(ip4(len=28), DATAGRAM), U),
    ("length beyond the frame", ethernet(ip4(len=65535), SEGMENT), T),
    ("length less than the options", ethernet(ip4(len=23, **options(1)), SEGMENT), ""),
    ("length of the options", ethernet(ip4(len=24, **options(1)), SEGMENT), "ipv4"),
    ("padding", ethernet(ip4(), SEGMENT) + b"\xff" * 100, T),
    ("ports in the padding", ethernet(ip4(len=20, proto=17)) + bytes(DATAGRAM), "ipv4"),
    # TCP's offset
    *((f"tcp offset {n}", ip4_with(tcp(n, 40), proto=6), T if n >= 5 else "ipv4") for n in range(16)),
    *((f"tcp offset {n} beyond the end", ip4_with(tcp(n, n * 4 - 21), proto=6), "ipv4") for n in range(6, 16)),
    *((f"tcp offset {n} to the end", ip4_with(tcp(n, n * 4 - 20), proto=6), T) for n in range(6, 16)),
    # UDP's length
    *((f"udp length {n}", ethernet(ip4(), UDP(sport=11, dport=22, len=n)), U if n > 7 else "ipv4") for n in (0, 1, 7, 8, 9, 65535)),
    ("udp with room for what follows", ethernet(ip4(), UDP(sport=1, dport=9000), Raw(b"1234")), "ipv4 udp probe 1:9000"),
    ("udp whose length ends before", ethernet(ip4(), UDP(sport=1, dport=9000, len=11), Raw(b"1234")), "ipv4 udp 1:9000"),
    ("udp longer than ip", ethernet(ip4(len=31), UDP(sport=1, dport=9000, len=12), Raw(b"1234")), "ipv4 udp 1:9000"),
    # tags
    ("vlan", ethernet(Dot1Q(), ip4(), SEGMENT), f"vlan {T}"),
    ("qinq", ethernet(Dot1AD(), Dot1Q(), ip4(), SEGMENT), f"vlan vlan.inner {T}"),
    ("8100 in 8100", ethernet(Dot1Q(), Dot1Q(), ip6(), DATAGRAM), "vlan vlan.inner ipv6 udp 11:22"),
    ("88a8 in 8100", ethernet(Dot1Q(), Dot1AD(), ip4(), DATAGRAM), f"vlan vlan.inner {U}"),
    ("three tags", ethernet(Dot1AD(), Dot1Q(), Dot1Q(), ip4(), SEGMENT), "vlan vlan.inner"),
    ("four tags", ethernet(Dot1AD(), Dot1AD(), Dot1Q(), Dot1Q(), ip4(), SEGMENT), "vlan vlan.inner"),
    ("an old tag", ethernet(Raw(b"\0\1\x08\0" + bytes(ip4() / SEGMENT)), type=0x9100), ""),
    ("vlan with arp", ethernet(Dot1Q(), arp()), "vlan arp"),
    # ARP
    *(
        (f"arp {fields}", ethernet(arp(**fields)), found)
        for fields, found in (({}, "arp"), ({"hwtype": 6}, ""), ({"ptype": 0x86DD}, ""), ({"hwlen": 8}, ""), ({"plen": 16}, ""))
    ),
    # what is carried
    ("icmp", ethernet(ip4(), ECHO), "ipv4 icmp"),
    ("icmpv6 over ipv4", ip4_with(bytes(40), proto=58), "ipv4"),
    ("icmp over ipv6", ethernet(ip6(nh=1), Raw(bytes(40))), "ipv6"),
    ("icmpv6", ethernet(ip6(nh=58), Raw(bytes(8))), "ipv6 icmpv6"),
    ("icmp of 7 bytes", ip4_with(bytes(7), proto=1), "ipv4"),
    *((f"protocol {n}", ip4_with(bytes(40), proto=n), "ipv4") for n in (0, 2, 4, 5, 7, 16, 18, 41, 43, 44, 47, 50, 51, 132, 255)),
    # IPv6
    *((f"ipv6 version {n}", ethernet(ip6(version=n), SEGMENT), "ipv6 tcp 11:22" if n == 6 else "") for n in range(16)),
    *((f"ipv6 length {n}", ethernet(ip6(plen=n), SEGMENT), "ipv6 tcp 11:22" if n >= 20 else "ipv6") for n in (0, 1, 19, 20, 65535)),
    ("ipv6 in an ipv4 type", ethernet(ip6(), SEGMENT, type=0x0800), ""),
    ("ipv4 in an ipv6 type", ethernet(ip4(), SEGMENT, type=0x86DD), ""),
    *((f"ipv6 next {n}", ethernet(ip6(nh=n), Raw(bytes(40))), "ipv6") for n in (2, 4, 41, 47, 50, 59, 132, 253, 254, 255)),
]  # fmt: skip


@pytest.mark.parametrize("block", range(8))
def test_what_is_there_and_what_is_not(look: Agreement, block: int) -> None:
    for name, frame, wanted in CASES[block::8]:
        assert seen(look, frame) == wanted, name


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES)


# ---- headers of a user's own

OWN = """
header sized size words * 4 after udp when udp.dport == 9000 { words: u8; _: u56 }
header first after udp when udp.dport == 9001 { kind: u8; verify kind == 1 }
header second after udp when udp.dport in 9001..9002 { kind: u8 }
header behind after sized { value: u32 }
service own {
    chain ingress {
        stage look {
            if sized { eth.dst = 00:00:00:00:00:01 }
            if behind { eth.src = mac_addr(behind.value) }
            if first { eth.dst = 00:00:00:00:00:02 }
            if second { eth.dst = 00:00:00:00:00:03 }
        }
    }
}
"""


def test_a_header_of_its_own_is_as_long_as_it_says_and_the_first_that_may_follow_does() -> None:
    with Agreement(OWN, general=False) as tried:

        def left(port: int, payload: bytes) -> tuple[int, int]:
            frame = tried.run(ethernet(ip4(), UDP(sport=1, dport=port), Raw(payload), src="00:00:00:00:00:00")).frame
            return frame[5], int.from_bytes(frame[6:12])

        value = b"\x0a\x0b\x0c\x0d"
        for words in range(9):
            # 24 bytes, at the end of the header what may stand behind it
            payload = (bytes([words]).ljust(max(8, words * 4), b"\0") + value).ljust(24, b"\0")[:24]
            wanted = (1, 0x0A0B0C0D if words < 6 else 0) if 2 <= words <= 6 else (2, 0)
            assert left(9000, payload) == wanted, words
        assert left(9001, b"\1") == (2, 0)
        assert left(9001, b"\2") == (2, 0)
        assert left(9002, b"\1") == (3, 0)


LENGTHS = (
    "u64(packet.length)",
    "(u64(packet.length) - u64(few)) << 20",
    "u64(u8(packet.length) - few)",
    "u64(u16(packet.length) - u16(few)) << 3",
    "u64((packet.length << 12) - u32(few))",
    "u64(packet.length * 3 + u32(few)) & 0xffff",
    "u64(packet.length) / (u64(few) + 1)",
    "u64(u13(packet.length) - u13(few))",
    "u64(~packet.length)",
)


def test_the_length_of_a_frame_can_be_calculated_with() -> None:
    """In one stage each, as the compiler makes different code of each; a verifier that does not like it refuses to load."""
    stages = "\n".join(f"stage s{n} {{ found ^= u48({expression}) << {n} }}" for n, expression in enumerate(LENGTHS))
    start = "stage start { if ipv4 { few = ipv4.ttl } }"
    text = f"service s {{ meta few: u8; meta found: u48\nchain ingress {{\n{start}\n{stages}\neth.src = mac_addr(found)\n}} }}"
    with Agreement(text, general=False) as tried:
        left = {tried.run(ethernet(ip4(ttl=few), Raw(bytes(size)))).frame[6:12] for few in (0, 1, 255) for size in (0, 100, 1000)}
        assert len(left) == 9


# ---- IPv6 extension headers

ANY, AH, FRAGMENT = (0, 43, 60, 135, 139, 140), 51, 44


def extension(kind: int, following: int, units: int = 0) -> bytes:
    """A header of 8 bytes and so many units more: of 8 bytes, or with AH of 4 (RFC 8200, RFC 4302)."""
    if kind == FRAGMENT:
        return bytes(IPv6ExtHdrFragment(nh=following, res1=units, m=1))
    return bytes([following, units]) + b"\xee" * ((units + 2) * 4 - 2 if kind == AH else (units + 1) * 8 - 2)


def chain(kinds: Sequence[int], units: int, last: int, payload: bytes) -> bytes:
    following = [*kinds[1:], last]
    body = b"".join(extension(kind, following[index], units) for index, kind in enumerate(kinds))
    return ethernet(ip6(nh=kinds[0] if kinds else last), Raw(body + payload))


def behind(count: int, transport: str) -> str:
    """What is found behind so many extension headers."""
    return " ".join(["ipv6", *["ipv6_ext", "ipv6_ext.inner"][:count], *([transport] if count <= 8 else [])])


@pytest.mark.parametrize("kind", [*ANY, AH, FRAGMENT])
def test_up_to_eight_extension_headers_are_looked_through(look: Agreement, kind: int) -> None:
    for count, units in product(range(11), (0, 1, 4)):
        assert seen(look, chain([kind] * count, units, 17, bytes(DATAGRAM))) == behind(count, "udp 11:22"), (count, units)
    assert seen(look, chain([kind], 255 if kind != FRAGMENT else 0, 6, bytes(SEGMENT))) == "ipv6 ipv6_ext tcp 11:22"
    assert seen(look, chain([kind], 1, 58, bytes(8))) == "ipv6 ipv6_ext icmpv6"


def test_extension_headers_of_all_kinds_in_a_row(look: Agreement) -> None:
    kinds = [*ANY, AH, FRAGMENT]
    for turn in range(8):
        turned = kinds[turn:] + kinds[:turn]
        assert seen(look, chain(turned, 1, 6, bytes(SEGMENT))) == behind(8, "tcp 11:22")
        assert seen(look, chain(turned[:3], 2, 50, bytes(40))) == "ipv6 ipv6_ext ipv6_ext.inner", "ESP is opaque"
        assert seen(look, chain(turned[:2], 2, 59, bytes(SEGMENT))) == "ipv6 ipv6_ext ipv6_ext.inner", "nothing follows"


def test_only_the_first_fragment_has_ports(look: Agreement) -> None:
    for before in ([], [60], [0, 43]):
        for offset in (0, 1, 2, 0x1000, 0x1FFF):
            header = bytes(IPv6ExtHdrFragment(nh=17, offset=offset, m=1))
            kinds = [*before, FRAGMENT]
            body = b"".join(extension(kind, kinds[index + 1]) for index, kind in enumerate(before)) + header + bytes(DATAGRAM)
            found = behind(len(kinds), "udp 11:22" if not offset else "").strip()
            assert seen(look, ethernet(ip6(nh=kinds[0]), Raw(body))) == found, (before, offset)
    # In any other extension header the same bits are an option's.
    for kind in (*ANY, AH):
        body = bytes([17, 0, 0xFF, 0xF9, 1, 2, 3, 4]) + bytes(DATAGRAM)
        assert seen(look, ethernet(ip6(nh=kind), Raw(body))) == "ipv6 ipv6_ext udp 11:22", kind


def test_an_extension_header_that_does_not_end_in_the_packet_is_absent(look: Agreement) -> None:
    for kind in ANY:
        for length, found in ((7, "ipv6"), (8, "ipv6 ipv6_ext"), (16, "ipv6 ipv6_ext udp 11:22")):
            frame = ethernet(ip6(nh=kind, plen=length), Raw(extension(kind, 17) + bytes(DATAGRAM)))
            assert seen(look, frame) == found
        assert seen(look, ethernet(ip6(nh=kind), Raw(extension(kind, 17, 3)[:31]))) == "ipv6"
        assert seen(look, ethernet(ip6(nh=kind), Raw(extension(kind, 17, 3)[:32]))) == "ipv6 ipv6_ext"
    assert seen(look, ethernet(ip6(nh=AH), Raw(extension(AH, 17, 4)[:23]))) == "ipv6"
    assert seen(look, ethernet(ip6(nh=AH), Raw(extension(AH, 17, 4)[:24]))) == "ipv6 ipv6_ext"


# ---- cut frames

ENDS: list[tuple[bytes, list[tuple[int, str]]]] = [
    (ethernet(ip4(), SEGMENT), [(34, "ipv4"), (54, "tcp")]),
    (ethernet(ip4(**options(10)), DATAGRAM), [(74, "ipv4"), (82, "udp")]),
    (ethernet(ip4(**options(3)), tcp(9, 16)), [(46, "ipv4"), (82, "tcp")]),
    (ethernet(ip4(), ECHO), [(34, "ipv4"), (42, "icmp")]),
    (ethernet(ip4(), UDP(sport=1, dport=9000), Raw(b"1234")), [(34, "ipv4"), (42, "udp"), (46, "probe")]),
    (ethernet(Dot1Q(), ip4(), SEGMENT), [(18, "vlan"), (38, "ipv4"), (58, "tcp")]),
    (ethernet(Dot1AD(), Dot1Q(), ip6(), SEGMENT), [(18, "vlan"), (22, "vlan.inner"), (62, "ipv6"), (82, "tcp")]),
    (ethernet(arp()), [(42, "arp")]),
    (ethernet(ip6(nh=58), Raw(bytes(8))), [(54, "ipv6"), (62, "icmpv6")]),
    (
        ethernet(ip6(nh=0), Raw(extension(0, 51, 1) + extension(51, 17, 4) + bytes(DATAGRAM))),
        [(54, "ipv6"), (70, "ipv6_ext"), (94, "ipv6_ext.inner"), (102, "udp")],
    ),
]


@pytest.mark.parametrize("index", range(len(ENDS)))
def test_a_header_that_is_cut_is_absent_at_every_length(look: Agreement, index: int) -> None:
    frame, ends = ENDS[index]
    for length in range(14, len(frame) + 1):
        names = [name for end, name in ends if end <= length]
        words = [word for word in seen(look, frame[:length]).split() if ":" not in word]
        assert words == names, length


def test_a_frame_shorter_than_ethernet_is_given_to_no_program(look: Agreement) -> None:
    before = look.tried
    for length in range(1, 14):
        assert look.run(bytes(length)).reason == "drop: malformed"
    assert look.tried == before, "the kernel refuses to try"
