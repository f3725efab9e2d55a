"""Pairs of versions that differ in all that two versions can differ in: by hand, and at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pcnc.compile import check
from pcnc.diagnostics import CompileError
from pcnc.manifest import Hook
from pcnc.source import Source
from tests.live_service import udp, with_rules
from tests.random_packets import ADDRESSES4, random_frame
from tests.random_programs import ProgramWriter
from tests.version_walk import Version


def _service(*members: str) -> str:
    return "service pair {\n" + "\n".join(members) + "\n}\n"


def stages(count: int, mark: int) -> str:
    """A chain of stages that hand a number on: whoever misses one, or meets one of another version, leaves with another number."""
    steps = [f"stage s{i} {{ if ipv4 {{ m = m * {mark} + {i} }}; if ipv6 {{ m += {i} }} }}" for i in range(count)]
    last = "stage last { if ipv4 { ipv4.id = m } else { if ipv6 { ipv6.flow_label = u20(m) } } }"
    return _service("meta m: u16", "chain ingress {", *steps, last, "}")


_TABLES = """
table a { match ipv4.src: exact; action drop, next, mark; default next; count packets }
table b { match ipv4.dst: lpm; action drop, next, mark; default next; count packets, bytes }
action mark(number: u16) { m = number; if ipv4 { ipv4.id = number } }
"""
_A = "rules a { 10.0.0.1 -> mark(1); 192.0.2.1 -> drop }"
_B = "rules b { 10.0.0.0/8 -> mark(2); 0.0.0.0/0 -> drop }"
_ANY = "stage end { if ipv4 { ipv4.ttl = u8(m) } }"


def _sources(columns: str, order: str, *rules: str) -> str:
    """A table of one name, in many structures."""
    table = f"table sources {{ match {columns}; action drop, next, mark; default mark(9); {order}; count packets }}"
    return _service(
        "meta m: u16", "action mark(number: u16) { m = number; if ipv4 { ipv4.id = number } }", table,
        "chain ingress { sources; " + _ANY + " }", f"rules sources {{ {'; '.join(rules)} }}",
    )  # fmt: skip


def _frame(*metas: str, steps: str) -> str:
    return _service(*(f"meta {meta}" for meta in metas), f"chain ingress {{ {steps} }}")


HASH = _sources("ipv4.src: exact", "size 1k", "10.0.0.1 -> mark(3)", "10.0.1.1 -> drop")
TRIE = _sources("ipv4.src: lpm", "size 1k", "10.0.0.0/16 -> mark(4)", "10.0.1.1/32 -> drop")
LIST = _sources(
    "ipv4.src: prefix, l4.dport: range",
    "order first",
    "ipv4.src=10.0.1.0/24, l4.dport=0..100 -> mark(5)",
    "ipv4.src=*, l4.dport=443 -> drop",
)
NARROW = _frame(
    "a: u8",
    "b: u64",
    steps="stage one { a = 7; b = 1; if udp { b += u64(udp.dport) } }; stage two { if ipv4 { ipv4.id = u16(a) + u16(b) } }",
)
WIDE = _frame(
    "b: u16",
    "c: ipv6_addr",
    "a: u64",
    steps="stage one { b = 9; if ipv6 { c = ipv6.src }; if ipv4 { a = u64(ipv4.ttl) << 40 } }; "
    "stage two { if ipv4 { ipv4.id = u16(a >> 40) ^ b }; if ipv6 { ipv6.dst = c } }",
)
TAGGED = _service(
    "config vlan_ttl: u8 = 33",
    "chain ingress { stage s { if vlan { vlan.id += 1; vlan.priority = 3; if ipv4 { ipv4.ttl = vlan_ttl } } } }",
)
INNER = _service(
    "chain ingress { stage s { if vlan.inner { vlan.inner.id = 5; vlan.id = vlan.inner.id ^ 9 }; if vlan and udp { drop } } }"
)


def _parameters(declared: str, body: str, *rules: str) -> str:
    table = "table t { match ipv4.src: lpm; action set, drop; default drop; count packets }"
    return _service(
        f"action set({declared}) {{ if ipv4 {{ {body} }} }}", table, "chain ingress { t }", f"rules t {{ {'; '.join(rules)} }}"
    )


def _with_tables(*chains: str, rules: Sequence[str] = (_A, _B)) -> str:
    return _service("meta m: u16", _TABLES, *(f"chain {chain} }}" for chain in chains), *rules)


NINE, OTHER_NINE = stages(8, 3), stages(8, 5)
LONGEST = 28
"""Stages beside the last one, behind the parser: 30 steps, as many as the compiler takes."""
PAIRS: dict[str, tuple[str, str]] = {
    "1 block, 9 blocks": (stages(1, 2), NINE),
    "9 blocks, 9 others": (NINE, OTHER_NINE),
    "as many blocks as there may be": (stages(1, 2), stages(LONGEST, 3)),
    "the parser gone": (NINE, _service("chain ingress { stage s { drop } }")),
    "nothing at all": (NINE, _service("chain ingress { }")),
    "tables in another order": (_with_tables("ingress { a; b; " + _ANY), _with_tables("ingress { b; a; " + _ANY)),
    "a table at the other hook": (
        _with_tables("ingress { a; b; " + _ANY, "egress { stage out { if udp { drop } }"),
        _with_tables("ingress { b; " + _ANY, "egress { a"),
    ),
    "a chain more": (_with_tables("ingress { a; b"), _with_tables("ingress { a", "egress { b")),
    "the chain at the other hook": (_with_tables("ingress { a; b"), _with_tables("egress { a; b")),
    "a frame of another layout": (NARROW, WIDE),
    "VLAN tags rewritten": (TAGGED, stages(1, 2)),
    "inner tags": (TAGGED, INNER),
    "other parameters": (
        _parameters("ttl: u8", "ipv4.ttl = ttl", "10.0.0.0/8 -> set(7)", "192.0.2.0/24 -> drop"),
        _parameters(
            "to: ipv4_addr, port: u64", "ipv4.dst = to; ipv4.id = u16(port >> 32)", "10.0.0.0/8 -> set(192.0.2.7, 0x1234567890)"
        ),
    ),
    "hash, trie": (HASH, TRIE),
    "trie, list": (TRIE, LIST),
    "list, hash": (LIST, HASH),
    "the same": (TRIE, TRIE),
}
"""By what they differ in."""


def frames_for(random: Random, count: int = 24) -> list[bytes]:
    """Frames of all kinds, with some that the pairs surely look at."""
    plain = [
        udp(source, destination, dport)
        for source in ADDRESSES4[:3]
        for destination, dport in (("192.0.2.2", 443), ("10.0.0.1", 53))
    ]
    tagged = [frame[:12] + b"\x81\x00\x20\x05" + frame[12:] for frame in plain[:2]]
    twice = [frame[:12] + b"\x88\xa8\x00\x07" + frame[12:] for frame in tagged]
    return [*plain, *tagged, *twice, *(random_frame(random) for _ in range(count))]


def random_version(random: Random, hook: Hook) -> Version:
    """A program at random with rules of its own in the file."""
    while True:
        writer = ProgramWriter(random)
        text = writer.service()
        for table in writer.tables:
            if rules := writer.rules(table, random.choice((0, 1, 3, 12))):
                text = with_rules(text, table, *rules)
        try:
            check(Source("random.pcn", text))
        except CompileError as error:
            # The same match twice, in other words, is the only thing that the writer may get wrong.
            if any(each.is_error and each.name != "duplicate-rule" for each in error.diagnostics):
                raise
            continue
        return Version(text, hook, random.random() < 0.5)
