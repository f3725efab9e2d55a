"""Many rules in one table, and what a rule hands to its action: in the kernel at XDP and TC, beside the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Any

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from pcnc.rules import Interval, MaskedValue, Pattern, Rule
from tests.agreement import Agreement
from tests.frames import ethernet, ip4, ip6
from tests.test_kernel_match_kinds import longest_of

pytestmark = pytest.mark.kernel

# ---- many rules

MANY = """
service s {
    table list { match ipv4.src: prefix, l4.dport: range; action next, mark; default next; order first; size 16k; count packets }
    table hash { match ipv4.src: exact, l4.dport: exact; action next, mark; default next; size 16k; count packets }
    table trie { match ipv4.src: lpm; action next, mark; default next; size 16k; count packets }
    action mark(number: u16) { ipv4.id = number }
    chain ingress { list; hash; trie }
}
"""


def numbered(tried: Agreement, table: str, rows: Sequence[tuple[Pattern, ...]]) -> None:
    """Rules that write their number into the packet."""
    tried.set_rules(table, [Rule(row, "mark", (number,)) for number, row in enumerate(rows, start=1)])


def written(tried: Agreement, address: int, port: int) -> int:
    """The number that a packet leaves with."""
    left = tried.run(ethernet(ip4(src=str(IPv4Address(address)), id=0), UDP(dport=port))).frame
    return int.from_bytes(left[18:20])


def host(address: int, length: int = 32) -> MaskedValue:
    mask = 0xFFFFFFFF >> length ^ 0xFFFFFFFF
    return MaskedValue(address & mask, mask)


def test_of_300_ordered_rules_the_first_that_matches_wins() -> None:
    addresses = [0x0A000000 + number for number in range(1, 300)]
    rows: list[tuple[Pattern, ...]] = [(host(address), Interval(80, 90)) for address in addresses]
    rows[100] = (host(addresses[200]), Interval(85, 85))
    rows.append((host(0x0A000000, 8), Interval(0, 65535)))
    with Agreement(MANY) as tried:
        numbered(tried, "list", rows)
        for index in (0, 1, 99, 101, 199, 298):
            assert [written(tried, addresses[index], port) for port in (79, 80, 90, 91)] == [300, index + 1, index + 1, 300]
        assert [written(tried, addresses[200], port) for port in (84, 85, 86)] == [201, 101, 201]
        assert written(tried, 0x0A000000, 80) == 300, "the last rule"
        assert written(tried, 0x0B000000, 80) == 0, "none"


def test_ten_thousand_rules_of_each_kind() -> None:
    random = Random("ten thousand")
    count = 10_000
    addresses = random.sample(range(1 << 24), count)
    ports = [random.randrange(65536) for _ in addresses]
    lengths = [random.choice((8, 16, 24, 30, 31, 32)) for _ in addresses]
    exact: list[tuple[Pattern, ...]] = [(host(a), MaskedValue(p, 0xFFFF)) for a, p in zip(addresses, ports, strict=True)]
    tree = list(dict.fromkeys((host(a << 8, n),) for a, n in zip(addresses, lengths, strict=True)))
    with Agreement(MANY, general=False) as tried:
        numbered(tried, "hash", exact)
        for index in (0, 1, count - 1, *random.sample(range(count), 20)):
            address, port = addresses[index], ports[index]
            assert written(tried, address, port) == index + 1
            assert written(tried, address ^ 1 << 31, port) == 0
            assert written(tried, address, port ^ 1) == 0
        tried.set_rules("hash", ())
        numbered(tried, "trie", tree)
        for index in (0, 1, len(tree) - 1, *random.sample(range(len(tree)), 20)):
            (pattern,) = tree[index]
            assert isinstance(pattern, MaskedValue)
            inside = pattern.value | random.getrandbits(32) & ~pattern.mask & 0xFFFFFFFF
            last = ~pattern.mask + 1 & 0xFFFFFFFF
            for address in (pattern.value, inside, inside ^ last, pattern.value - 1 & 0xFFFFFFFF):
                assert written(tried, address, 7) == longest_of(address, [row[0] for row in tree])
        tried.set_rules("trie", ())
        numbered(tried, "list", [(host(a), Interval(p, p)) for a, p in zip(addresses, ports, strict=True)])
        for index in (0, count - 1, *random.sample(range(count), 5)):
            assert written(tried, addresses[index], ports[index]) == index + 1
            assert written(tried, addresses[index], ports[index] ^ 1) == 0


# ---- what a rule hands to its action

ARGUMENTS = """
header sink after udp when udp.dport == 9000 { a: u64; b: u1; c: u7; d: u3; e: u13; f: u24; g: u48; h: ipv6_addr; i: bool; j: u7 }
service s {
    table t {
        match   eth.src: exact
        action  all, swapped, one, address, mac, six, next
        default next
    }
    action all(i: bool, h: ipv6_addr, b: u1, a: u64, d: u3, g: u48, c: u7, f: u24, e: u13, j: u7) {
        if sink { sink.a = a; sink.b = b; sink.c = c; sink.d = d; sink.e = e
                  sink.f = f; sink.g = g; sink.h = h; sink.i = i; sink.j = j }
    }
    action swapped(j: u7, e: u13, f: u24, c: u7, g: u48, d: u3, a: u64, b: u1, h: ipv6_addr, i: bool) {
        all(i, h, b, a, d, g, c, f, e, j)
    }
    action one(b: u1) { if sink { sink.b = b } }
    action address(to: ipv4_addr, ttl: u8, port: u16) { if ipv4 { ipv4.dst = to; ipv4.ttl = ttl }; if udp { udp.sport = port } }
    action mac(dst: mac_addr, kind: ip_proto) { eth.dst = dst; if sink { sink.c = u7(kind) } }
    action six(a: ipv6_addr, b: ipv6_addr) { if sink { sink.h = a ^ b } }
    chain ingress { t }
}
"""
SINK = (("a", 64), ("b", 1), ("c", 7), ("d", 3), ("e", 13), ("f", 24), ("g", 48), ("h", 128), ("i", 1), ("j", 7))


def sink_bytes(values: dict[str, int]) -> bytes:
    whole = 0
    for name, bits in SINK:
        whole = whole << bits | values[name]
    return whole.to_bytes(37)


@pytest.mark.parametrize("kind", ["exact", "ternary"])
def test_arguments_of_every_width_arrive(kind: str) -> None:
    random = Random("arguments")
    text = ARGUMENTS.replace("eth.src: exact", f"eth.src: {kind}").replace(
        "default next", "order first" if kind == "ternary" else ""
    )
    before = sink_bytes({name: random.getrandbits(bits) for name, bits in SINK})
    cases: list[tuple[str, tuple[int, ...], bytes, dict[str, Any]]] = []
    orders = {"all": "ihbadgcfej", "swapped": "jefcgdabhi"}
    for pick in ("low", "high", "random", "random", "random"):
        values = {n: {"low": 0, "high": (1 << bits) - 1, "random": random.getrandbits(bits)}[pick] for n, bits in SINK}
        for action, order in orders.items():
            cases.append((action, tuple(values[name] for name in order), sink_bytes(values), {}))
    old = int.from_bytes(before)
    for bit in (0, 1):
        at = 37 * 8 - 65
        cases.append(("one", (bit,), (old & ~(1 << at) | bit << at).to_bytes(37), {}))
    a, b = random.getrandbits(128), random.getrandbits(128)
    cases.append(("six", (a, b), (old & ~((1 << 128) - 1 << 8) | (a ^ b) << 8).to_bytes(37), {}))
    cases.append(("address", (0xCB007109, 3, 0xFFFE), before, {"dst": "203.0.113.9", "ttl": 3, "sport": 0xFFFE}))
    at = 37 * 8 - 72
    cases.append(("mac", (0xFFFFFFFFFFFE, 0x7F), (old | 0x7F << at).to_bytes(37), {"mac": "ff:ff:ff:ff:ff:fe"}))

    with Agreement(text) as tried:
        tried.set_rules("t", [Rule((MaskedValue(n, (1 << 48) - 1),), c[0], c[1]) for n, c in enumerate(cases, start=1)])
        for number, (action, _, content, changed) in enumerate(cases, start=1):

            def frame(
                payload: bytes, dst: str = "192.0.2.2", ttl: int = 64, sport: int = 1, mac: str = "02:00:00:00:00:02"
            ) -> bytes:
                source = ":".join(f"{byte:02x}" for byte in number.to_bytes(6))  # noqa: B023  # called before the next turn
                return ethernet(ip4(dst=dst, ttl=ttl), UDP(sport=sport, dport=9000), Raw(payload), src=source, dst=mac)

            assert tried.run(frame(before)).frame.hex() == frame(content, **changed).hex(), action


@pytest.mark.parametrize("kind", ["exact", "lpm", "ternary", "range"])
@pytest.mark.parametrize(("count", "type", "bits"), [(12, "ipv6_addr", 128), (24, "u63", 63), (24, "u3", 3)])
def test_the_widest_table_that_is_allowed_fits_the_kernel(kind: str, count: int, type: str, bits: int) -> None:
    if kind == "lpm" and bits != 128:
        type, bits = "ipv4_addr", 32
    metas = "".join(f"meta m{n}: {type}\n" for n in range(count))
    others = "exact" if kind == "lpm" else kind
    columns = ", ".join(f"m{n}: {kind if n == count // 2 else others}" for n in range(count))
    order = " order first\n" if kind in ("ternary", "range") else ""
    table = f"table t {{\n match {columns}\n action write, next\n{order} count packets\n}}\n"
    write = f"action write(a: ipv6_addr, b: {type}, c: u64) {{ if ipv6 {{ ipv6.dst = a ^ ipv6.src; ipv6.flow_label = u20(c) }} }}\n"
    changes = type == "u63"
    last = f"m{count - 1} = ipv4.id" if changes else "ipv4.ttl -= 1"
    text = f"service s {{\n{metas}{table}{write}chain ingress {{\nstage start {{ if ipv4 {{ {last} }} }}\nt\n}} }}\n"
    everything: Pattern = MaskedValue(0, (1 << bits) - 1)
    row: list[Pattern] = [everything if kind != "range" else Interval(0, 0)] * count
    with Agreement(text, general=False) as tried:
        tried.set_rules("t", [Rule(tuple(row), "write", (1 << 127, 0, 7))])
        assert tried.hits(ethernet(ip6(src="::1"))) == {"t": 1}
        assert tried.run(ethernet(ip6(src="::1"))).frame[38:54] == bytes.fromhex("80000000000000000000000000000001")
        assert tried.hits(ethernet(ip4(id=5))) == {"t": int(not changes)}, "the last column is another"
