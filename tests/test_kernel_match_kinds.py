"""Each match kind on each type, in the kernel at XDP and TC: values one bit or one number off, absent fields, order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q
from scapy.packet import Raw

from pcnc.rules import Interval, MaskedValue, Pattern, Rule
from tests.agreement import Agreement
from tests.frames import ethernet, ip4, ip6

pytestmark = pytest.mark.kernel

WIDE = "header wide after udp when udp.dport == 9000 {\n a: u64\n b: u24\n c: u5\n d: u48\n e: u2\n f: bool\n}\n"


def udp4(port: int, payload: bytes = b"") -> bytes:
    return ethernet(ip4(), UDP(sport=1, dport=port), Raw(payload))


def wide(a: int = 0, b: int = 0, tail: int = 0) -> bytes:
    """The user's own header; `tail` are its last seven bytes."""
    return udp4(9000, struct.pack("!Q", a) + b.to_bytes(3, "big") + tail.to_bytes(7, "big"))


@dataclass(frozen=True)
class Column:
    """A column, its width, a value in the middle of its range, and frames that have a value, or lack the field."""

    name: str
    bits: int
    value: int
    frame: Callable[[int], bytes]
    absent: bytes | None
    prefixes: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def maximum(self) -> int:
        return (1 << self.bits) - 1


ARP = ethernet(Raw(bytes(46)), type=0x0806)
PLAIN = udp4(7)
V4, V6 = (0, 1, 8, 9, 24, 31, 32), (0, 1, 63, 64, 65, 127, 128)
COLUMNS = [
    Column("vlan.priority", 3, 5, lambda v: ethernet(Dot1Q(prio=v), ip4()), PLAIN),
    Column("vlan.id", 12, 0x5A5, lambda v: ethernet(Dot1Q(vlan=v), ip4()), PLAIN),
    Column("vlan.inner.id", 12, 0xA5A, lambda v: ethernet(Dot1AD(vlan=1), Dot1Q(vlan=v), ip4()), ethernet(Dot1Q(), ip4())),
    Column("ipv4.fragment_offset", 13, 0x0AAA, lambda v: ethernet(ip4(frag=v)), ARP),
    Column("ipv4.dscp", 6, 46, lambda v: ethernet(ip4(tos=v << 2 | 1)), ARP),
    Column("ipv4.ttl", 8, 64, lambda v: ethernet(ip4(ttl=v)), ARP),
    Column("ipv4.proto", 8, 6, lambda v: ethernet(ip4(proto=v), Raw(b"\x50" * 20)), ARP),
    Column("tcp.flags", 8, 0x12, lambda v: ethernet(ip4(), TCP(flags=v)), PLAIN),
    Column("udp.dport", 16, 0x1234, lambda v: ethernet(ip6(), UDP(dport=v)), ethernet(ip4(), TCP())),
    Column("l4.sport", 16, 0x8000, lambda v: ethernet(ip4(), (TCP if v % 2 else UDP)(sport=v)), ethernet(ip4(), ICMP())),
    Column("eth.type", 16, 0x9000, lambda v: ethernet(Raw(bytes(60)), type=v), None),
    Column("ipv6.flow_label", 20, 0x54321, lambda v: ethernet(ip6(fl=v, tc=0xFF)), PLAIN),
    Column("tcp.seq", 32, 0x80000001, lambda v: ethernet(ip4(), TCP(seq=v)), PLAIN),
    Column("ipv4.src", 32, 0xC0A80155, lambda v: ethernet(ip4(src=str(IPv4Address(v)))), ARP, V4),
    Column("ipv6.dst", 128, 0x20010DB8_00000001_8000000000000001, lambda v: ethernet(ip6(dst=str(IPv6Address(v)))), PLAIN, V6),
    Column("eth.dst", 48, 0x020000800001, lambda v: v.to_bytes(6, "big") + PLAIN[6:], None),
    Column("m", 16, 0x7FFF, lambda v: ethernet(ip4(id=v)), None),
    Column("wide.a", 64, 0x8000000000000001, lambda v: wide(a=v), PLAIN),
    Column("wide.b", 24, 0x800001, lambda v: wide(b=v), PLAIN),
    Column("wide.c", 5, 0x15, lambda v: wide(tail=v << 51 | 7 << 48), PLAIN),
    Column("wide.f", 1, 1, lambda v: wide(tail=v | 2), PLAIN),
]


def service(column: str, kinds: Sequence[str]) -> str:
    """A table of each kind, one behind the other; a meta is given what `ipv4.id` holds."""
    tables = "".join(
        f"table {kind}_t {{\n match {column}: {kind}\n action next\n count packets\n"
        + (" order first\n" if kind in ("prefix", "range", "ternary") else "")
        + "}\n"
        for kind in kinds
    )
    steps = "\n".join(f"{kind}_t" for kind in kinds)
    start = "stage start { if ipv4 { m = ipv4.id } }\n" if column == "m" else ""
    return f"{WIDE}service s {{ meta m: u16\n{start}{tables}chain ingress {{\n{'start' if start else ''}\n{steps}\n}} }}\n"


def rules(*patterns: Pattern) -> list[Rule]:
    return [Rule((pattern,), "next") for pattern in patterns]


def prefix(column: Column, value: int, length: int) -> MaskedValue:
    mask = column.maximum >> length ^ column.maximum
    return MaskedValue(value & mask, mask)


def first_of(value: int | None, patterns: Sequence[Pattern]) -> int:
    """What an ordered table does, in two lines of Python."""
    for number, pattern in enumerate(patterns, start=1):
        match pattern:
            case None:
                return number
            case Interval(low, high) if value is not None and low <= value <= high:
                return number
            case MaskedValue(wanted, mask) if value is not None and value & mask == wanted:
                return number
    return 0


def longest_of(value: int | None, patterns: Sequence[Pattern]) -> int:
    """What a table with `lpm` does: the longest prefix, `*` shorter than any."""
    order = sorted(patterns, key=lambda p: -p.mask.bit_count() if isinstance(p, MaskedValue) else 1)
    number = first_of(value, order)
    return patterns.index(order[number - 1]) + 1 if number else 0


def near(column: Column, intervals: Sequence[Interval]) -> list[int]:
    """The value, each value one bit off, both ends of the type, and the ends of the ranges and what is just outside."""
    values = [column.value, 0, column.maximum, *(column.value ^ 1 << bit for bit in range(column.bits))]
    values += [value for each in intervals for value in (each.low - 1, each.low, each.high, each.high + 1)]
    return [value for value in dict.fromkeys(values) if 0 <= value <= column.maximum]


def patterns_of(column: Column, random: Random) -> Iterator[dict[str, list[Pattern]]]:
    """Rules for each kind of table, several times over: without and with `*`."""
    value, top = column.value, column.maximum
    some = random.getrandbits(column.bits) | 1
    masks = [top, top ^ 1, some, 1 << column.bits - 1]
    ternary: list[Pattern] = list(dict.fromkeys(MaskedValue(value & mask, mask) for mask in masks if mask))
    exact: list[Pattern] = [MaskedValue(value, top), MaskedValue(0, top)]
    third = max(1, top // 3)
    ranges: list[Pattern] = [Interval(value, value), Interval(third, min(top, 2 * third)), Interval(0, 1), Interval(top, top)]
    lengths = column.prefixes
    falling: list[Pattern] = [prefix(column, value, length) for length in reversed(lengths)]
    mixed: list[Pattern] = [prefix(column, value, length) for length in lengths]
    random.shuffle(mixed)
    yield {"exact": exact, "ternary": ternary, "range": ranges, "prefix": falling, "lpm": mixed}
    star: list[Pattern] = [None]
    nothing: list[Pattern] = [MaskedValue(0, 0)]
    yield {
        "exact": [MaskedValue(top, top)],
        "ternary": [*ternary[1:], *nothing, *star],
        "range": [Interval(1, top), *star],
        "prefix": [*falling[:-1], *star, *falling[-1:]],
        "lpm": star + [pattern for pattern in mixed if pattern != MaskedValue(0, 0)],
    }
    yield {
        "exact": [MaskedValue(value, top)],
        "ternary": nothing,
        "range": [Interval(0, top)],
        "prefix": [prefix(column, ~value, 1), *nothing] if lengths else [],
        "lpm": [*falling, *star],
    }
    # Each length alone: in company a shorter prefix would take what a longer one misses.
    for length in lengths:
        yield {"prefix": [prefix(column, value, length)], "lpm": [prefix(column, value, length)]}


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_each_kind_and_its_near_misses(column: Column) -> None:
    kinds = ["exact", "ternary", "range", *(["prefix", "lpm"] if column.prefixes else [])]
    random = Random(column.name)
    with Agreement(service(column.name, kinds), general=False) as tried:
        for patterns in patterns_of(column, random):
            for kind in kinds:
                tried.set_rules(f"{kind}_t", rules(*patterns.get(kind, ())) or rules(MaskedValue(0, column.maximum)))
            asked = {kind: patterns.get(kind) or [MaskedValue(0, column.maximum)] for kind in kinds}
            intervals = [pattern for pattern in asked["range"] if isinstance(pattern, Interval)]
            values: list[int | None] = [*near(column, intervals)]
            for value in values if column.absent is None else [*values, None]:
                frame = column.frame(value) if value is not None else column.absent
                assert frame is not None
                found = tried.hits(frame)
                for kind in kinds:
                    wanted = longest_of(value, asked[kind]) if kind == "lpm" else first_of(value, asked[kind])
                    assert found[f"{kind}_t"] == wanted, (kind, value, asked[kind])


# ---- several columns

FIVE = """
service s {
    table t {
        match   vlan.id: exact, ipv4.src: prefix, l4.dport: range, tcp.flags: ternary, ipv4.ttl: ternary
        action  next
        order   first
        count   packets
    }
    chain ingress { t }
}
"""
# All of them take a 0, which is what an absent field must not be taken for.
ASKED: tuple[Pattern, ...] = (
    MaskedValue(0, 0xFFF),
    MaskedValue(0, 0x80000000),
    Interval(0, 90),
    MaskedValue(0x00, 0x12),
    MaskedValue(0, 0x80),
)


def five_frames() -> Iterator[tuple[tuple[int | None, ...], bytes]]:
    """Values of the five columns and a frame that has them: each right, just wrong, or absent, in every way there is."""
    for tag in (None, 0, 1, 0x800):
        tags = [] if tag is None else [Dot1Q(vlan=tag, prio=7)]
        for source in (None, 0x0A000000, 0x7FFFFFFF, 0x80000000):
            for port in (None, 0, 90, 91):
                for flags in (None, 0xED, 0x02, 0x10) if port is not None else (None,):
                    ttl = None if source is None else 128 if port == 0 else 127
                    ip = ip6() if source is None else ip4(src=str(IPv4Address(source)), ttl=ttl)
                    behind = UDP(dport=port) if flags is None else TCP(dport=port, flags=flags)
                    yield (tag, source, port, flags, ttl), ethernet(*tags, ip, *([behind] if port is not None else []))


@pytest.mark.parametrize("unasked", range(6))
def test_a_rule_of_five_columns_misses_where_one_is_off_or_absent(unasked: int) -> None:
    """Every set of columns as a rule; in each run all rules leave another column out, in the last one none does."""
    rows = [
        tuple(pattern if asked >> index & 1 and index != unasked else None for index, pattern in enumerate(ASKED))
        for asked in sorted(range(32), key=lambda bits: -bits.bit_count())
    ]
    rows = list(dict.fromkeys(rows))
    with Agreement(FIVE) as tried:
        tried.set_rules("t", [Rule(row, "next") for row in rows])
        found = set()
        for values, frame in list(five_frames())[:: 1 if unasked == 5 else 3]:
            fitting = [all(first_of(v, [p]) for v, p in zip(values, row, strict=True)) for row in rows]
            wanted = fitting.index(True) + 1
            assert tried.hits(frame) == {"t": wanted}, values
            found.add(wanted)
        assert len(found) > len(rows) / 2


LPM_BESIDE = """
service s {
    table t {
        match   COLUMNS
        action  next
        count   packets
    }
    chain ingress { t }
}
"""


@pytest.mark.parametrize("order", [0, 1, 2])
def test_lpm_looks_only_at_rules_whose_exact_columns_match(order: int) -> None:
    columns = ["ipv4.dst: lpm", "vlan.id: exact", "vlan.priority: exact"]
    columns = columns[order:] + columns[:order]

    def row(*patterns: Pattern) -> tuple[Pattern, ...]:
        return patterns[order:] + patterns[:order]

    def tagged(tag: int, priority: int) -> tuple[Pattern, Pattern]:
        return MaskedValue(tag, 0xFFF), MaskedValue(priority, 7)

    ten, host, everything = MaskedValue(0x0A000000, 0xFF000000), MaskedValue(0x0A000001, 0xFFFFFFFF), MaskedValue(0, 0)
    rows = [
        *(row(pattern, *tagged(7, 5)) for pattern in (None, ten, host)),
        *(row(pattern, *tagged(7, 4)) for pattern in (everything, None)),
        row(host, *tagged(0x807, 5)),
        row(everything, *tagged(0, 0)),
    ]
    wanted = {
        # (VLAN, priority): of 10.0.0.1, of 10.0.0.2, of 11.0.0.1, of a frame without IPv4
        (7, 5): (3, 2, 1, 1),
        (7, 4): (4, 4, 4, 5),
        (0x807, 5): (6, 0, 0, 0),
        (0, 0): (7, 7, 7, 0),
        (8, 5): (0, 0, 0, 0),
        None: (0, 0, 0, 0),
    }
    with Agreement(LPM_BESIDE.replace("COLUMNS", ", ".join(columns))) as tried:
        tried.set_rules("t", [Rule(each, "next") for each in rows])
        for tag, numbers in wanted.items():
            tags = [] if tag is None else [Dot1Q(vlan=tag[0], prio=tag[1], dei=1)]
            for layer, number in zip((*(ip4(dst=d) for d in ("10.0.0.1", "10.0.0.2", "11.0.0.1")), ip6()), numbers, strict=True):
                assert tried.hits(ethernet(*tags, layer)) == {"t": number}, (tag, layer.dst)


SIX, FOUR = 0x20010DB8_00000001_8000000000000001, 0xC0A80155
BESIDE: dict[str, tuple[int, int]] = {
    "vlan.priority": (3, 5),
    "vlan.id": (12, 0x155),
    "ipv6.hop_limit": (8, 77),
    "ipv6.flow_label": (20, 0x54321),
    "ipv6.src": (128, 0xFD00 << 112 | 7),
    "ipv4.ttl": (8, 77),
    "ipv4.id": (16, 0x1234),
    "ipv4.src": (32, 0x0A000001),
    "eth.dst": (48, 0x020000000002),
}
"""Columns beside the one with `lpm`, their widths and values."""
TOGETHER = ("vlan.priority", "vlan.id", "IP.SMALL", "IP.LARGE", "IP.src", "eth.dst", "eth.dst vlan.id", "IP.src vlan.priority",
            "vlan.id IP.LARGE IP.src IP.SMALL vlan.priority eth.dst")  # fmt: skip


@pytest.mark.parametrize("ip", ["ipv4", "ipv6"])
def test_columns_of_every_width_stand_beside_lpm(ip: str) -> None:
    """However the key is laid out, a prefix asks for just its own bits, and each other column for all of its own."""
    bits, value, lengths = (32, FOUR, V4) if ip == "ipv4" else (128, SIX, V6)
    small, large = ("ipv4.ttl", "ipv4.id") if ip == "ipv4" else ("ipv6.hop_limit", "ipv6.flow_label")
    sets = [each.replace("IP.SMALL", small).replace("IP.LARGE", large).replace("IP", ip).split() for each in TOGETHER]
    tables = "".join(
        f"table t{n} {{\n match {ip}.dst: lpm, {', '.join(f'{name}: exact' for name in names)}\n action next\n count packets\n}}\n"
        for n, names in enumerate(sets)
    )
    text = f"service s {{\n{tables}chain ingress {{\n" + "\n".join(f"t{n}" for n in range(len(sets))) + "\n} }\n"

    def frame(destination: int, changed: str = "") -> bytes:
        has = {name: held ^ (1 << width - 1 if name == changed else 0) for name, (width, held) in BESIDE.items()}
        tag = Dot1Q(prio=has["vlan.priority"], vlan=has["vlan.id"])
        if ip == "ipv4":
            addresses = {"src": str(IPv4Address(has["ipv4.src"])), "dst": str(IPv4Address(destination))}
            layer = ip4(ttl=has["ipv4.ttl"], id=has["ipv4.id"], **addresses)
        else:
            addresses = {"src": str(IPv6Address(has["ipv6.src"])), "dst": str(IPv6Address(destination))}
            layer = ip6(hlim=has["ipv6.hop_limit"], fl=has["ipv6.flow_label"], **addresses)
        return has["eth.dst"].to_bytes(6) + ethernet(tag, layer)[6:]

    with Agreement(text, general=False) as tried:
        for length in (None, *lengths):
            asked = (
                None
                if length is None
                else MaskedValue(value >> bits - length << bits - length, ((1 << length) - 1) << bits - length)
            )
            for n, names in enumerate(sets):
                exact = (MaskedValue(BESIDE[name][1], (1 << BESIDE[name][0]) - 1) for name in names)
                tried.set_rules(f"t{n}", [Rule((asked, *exact), "next")])
            hit = {f"t{n}": 1 for n in range(len(sets))}
            assert tried.hits(frame(value)) == hit, length
            if length:
                assert set(tried.hits(frame(value ^ 1 << bits - length)).values()) == {0}, length
            if length != bits:
                assert tried.hits(frame(value ^ 1 << bits - (length or 0) - 1)) == hit, length
                assert tried.hits(frame(value ^ (1 << bits - (length or 0)) - 1)) == hit, length
            for name in {name for names in sets for name in names}:
                wanted = {f"t{n}": int(name not in names) for n, names in enumerate(sets)}
                assert tried.hits(frame(value, name)) == wanted, (length, name)


@pytest.mark.parametrize(
    ("patterns", "present", "absent"),
    [
        ([None], 1, 1),
        ([MaskedValue(0, 0)], 1, 0),
        ([None, MaskedValue(0, 0)], 2, 1),
        ([MaskedValue(0, 0), None], 1, 2),
        ([MaskedValue(0, 1 << 127), None], 1, 2),
        ([MaskedValue(1 << 127, 1 << 127), None], 2, 2),
        ([], 0, 0),
    ],
    ids=lambda value: (
        "-".join("star" if p is None else str(p.mask.bit_count()) for p in value) if isinstance(value, list) else None
    ),
)
def test_a_star_in_an_lpm_column_is_less_than_a_prefix_of_no_bits(patterns: list[Pattern], present: int, absent: int) -> None:
    with Agreement(LPM_BESIDE.replace("COLUMNS", "ipv6.src: lpm")) as tried:
        tried.set_rules("t", rules(*patterns))
        assert tried.hits(ethernet(ip6(src="::"))) == ({"t": present} if patterns else {"t": 0})
        assert tried.hits(PLAIN) == {"t": absent}
        assert tried.hits(ethernet(ip6())[:53]) == {"t": absent}


def test_rules_keep_their_counts_and_those_with_the_same_match_count_apart() -> None:
    row: tuple[Pattern, ...] = (MaskedValue(7, 0xFFF), None, None, None, None)
    others = [(MaskedValue(tag, 0xFFF), *row[1:]) for tag in (1, 2, 3)]
    frame = ethernet(Dot1Q(vlan=7))
    with Agreement(FIVE, general=False) as tried:

        def counts(*rows: tuple[Pattern, ...]) -> list[int]:
            tried.set_rules("t", [Rule(each, "next") for each in rows])
            tried.hits(frame)
            return [tried.interpreter.counters["t", number].packets for number in range(1, len(rows) + 1)]

        assert counts(row) == [1]
        assert counts(row, row) == [2, 0]
        assert counts(others[0], row, row, others[1]) == [0, 3, 0, 0]
        assert counts(row, others[2]) == [4, 0]
        assert counts(others[1]) == [0]
        assert counts(row, others[0]) == [1, 0], "gone and come again: another rule"
