"""What a program does to a packet: chains, stages, tables, actions, state, verdicts with their reasons, and counts."""

from __future__ import annotations

import pytest

from pcnc.interpret import BranchTaken, Interpreter, Lookup, Outcome, StageRun
from tests.pcn_text import frame_of, headers_of, rules_of, running

pytestmark = pytest.mark.text

HEADERS = headers_of()
WEB = frame_of("eth / ipv4(src=10.1.2.3) / tcp(dport=80)")
DNS = frame_of("eth / ipv4(src=11.1.2.3) / udp(dport=53)")
SIX = frame_of("eth / ipv6 / tcp(dport=80)")
ARP = frame_of("eth / arp")

FIREWALL = """
service firewall {
    table sources {
        match   ipv4.src: lpm
        action  drop, next, pass
        default next
        size    64
    }
    table ports {
        match   l4.dport: exact
        action  next, drop, pass
        default drop
        size    64
        count   packets, bytes
    }
    chain ingress {
        sources
        ports
    }
}
"""


def result(interpreter: Interpreter, frame: bytes) -> tuple[str, str]:
    outcome = interpreter.run("ingress", frame)
    return outcome.verdict, outcome.reason


def counts(interpreter: Interpreter, table: str) -> list[tuple[int, int]]:
    """Packets and bytes of a table's default and rules."""
    numbers = sorted(number for name, number in interpreter.counters if name == table)
    return [(interpreter.counters[table, n].packets, interpreter.counters[table, n].bytes) for n in numbers]


def stage(body: str, frame: bytes = WEB) -> Outcome:
    """What a single stage with this body does to a frame."""
    text = f"service s {{\n chain ingress {{\n stage work {{\n{body}\n }}\n }}\n}}\n"
    return running(text).run("ingress", frame)


# ---- verdicts and reasons


def test_reasons_name_the_table_and_whether_a_rule_or_the_default_decided() -> None:
    firewall = running(FIREWALL, {"sources": "10.0.0.0/8 -> drop", "ports": "53 -> next"})
    assert result(firewall, WEB) == ("drop", "drop: rule sources")
    assert result(firewall, DNS) == ("next", "next")
    assert result(firewall, SIX) == ("drop", "drop: default ports")
    assert result(firewall, ARP) == ("drop", "drop: default ports")
    passing = running(FIREWALL, {"sources": "10.0.0.0/8 -> pass", "ports": "53 -> pass"})
    assert result(passing, WEB) == ("pass", "pass: rule sources")
    assert result(passing, DNS) == ("pass", "pass: rule ports")


def test_a_frame_shorter_than_ethernet_is_dropped_and_counted_nowhere() -> None:
    firewall = running(FIREWALL, {"ports": "80 -> next"})
    for length in range(14):
        assert result(firewall, WEB[:length]) == ("drop", "drop: malformed")
    assert counts(firewall, "sources") == [(0, 0)]
    assert result(firewall, WEB[:14]) == ("drop", "drop: default ports")
    assert counts(firewall, "sources") == [(1, 14)]


def test_a_direction_without_chain_lets_everything_go_on() -> None:
    firewall = running(FIREWALL)
    assert firewall.run("egress", WEB) == Outcome("next", WEB, "next", ())
    assert firewall.run("egress", b"").verdict == "next"


@pytest.mark.parametrize("verdict", ["drop", "pass"])
def test_a_stage_ends_the_way_of_a_packet(verdict: str) -> None:
    outcome = stage(f"if ipv4 {{ {verdict} }}")
    assert (outcome.verdict, outcome.reason) == (verdict, f"{verdict}: stage work")
    assert stage(f"if ipv4 {{ {verdict} }}", SIX).reason == "next"


def test_next_leaves_the_stage_however_deep_and_the_chain_goes_on() -> None:
    text = """
    service s {
        meta seen: u8
        action leave { next }
        chain ingress {
            stage first {
                if ipv4 { if tcp { leave } }
                eth.src = 02:00:00:00:00:0a
                seen = 1
            }
            stage second {
                if seen == 0 { drop }
            }
        }
    }
    """
    service = running(text)
    outcome = service.run("ingress", WEB)
    assert (outcome.reason, outcome.frame) == ("drop: stage second", WEB)
    outcome = service.run("ingress", DNS)
    assert (outcome.reason, outcome.frame[6:12]) == ("next", bytes.fromhex("02000000000a"))


def test_a_verdict_in_an_action_is_that_of_the_table_or_stage_it_was_called_from() -> None:
    text = """
    service s {
        table t {
            match   l4.dport: exact
            action  refuse, next
            default refuse(1)
            size    4
        }
        action judge(n: u8) { if n > 0 { drop } }
        action refuse(n: u8) {
            judge(n)
            eth.src = 02:00:00:00:00:0b
        }
        chain ingress {
            t
            stage last { judge(1) }
        }
    }
    """
    service = running(text, {"t": "80 -> refuse(0)\n53 -> refuse(7)"})
    web = service.run("ingress", WEB)
    assert web.reason == "drop: stage last"
    assert web.frame[6:12] == bytes.fromhex("02000000000b")
    assert result(service, DNS) == ("drop", "drop: rule t")
    assert result(service, ARP) == ("drop", "drop: default t")


def test_branches_of_a_chain() -> None:
    text = """
    service s {
        table four { match ipv4.src: lpm
            action drop, next
            default drop
            size 4 }
        table six { match ipv6.src: lpm
            action drop, next
            default next
            size 4 }
        chain ingress {
            if ipv4 { four } else if ipv6 { six } else { drop }
        }
    }
    """
    service = running(text, {"six": "2001:db8::/32 -> drop"})
    assert result(service, WEB) == ("drop", "drop: default four")
    assert result(service, SIX) == ("drop", "drop: rule six")
    assert result(service, ARP)[1].startswith("drop: stage ")


# ---- tables


def test_an_absent_field_equals_nothing_but_a_star() -> None:
    text = """
    service s {
        table acl {
            match   ipv4.src: prefix, l4.dport: range, tcp.flags: ternary
            action  next, drop
            default drop
            order   first
            size    8
        }
        chain ingress { acl }
    }
    """
    everything = running(text, {"acl": "ipv4.src=0.0.0.0/0, l4.dport=0..65535, tcp.flags=0 &&& 0 -> next"})
    assert result(everything, WEB) == ("next", "next")
    assert result(everything, DNS) == ("drop", "drop: default acl")
    assert result(everything, SIX) == ("drop", "drop: default acl")
    assert result(running(text, {"acl": "l4.dport=80 -> next"}), SIX) == ("next", "next")
    assert result(running(text, {"acl": "* -> next"}), ARP) == ("next", "next")
    later_fragment = frame_of("eth / ipv4(fragment_offset=3) / tcp(dport=80)")
    assert result(running(text, {"acl": "l4.dport=80 -> next"}), later_fragment) == ("drop", "drop: default acl")


@pytest.mark.parametrize(
    ("column", "rule", "hits", "misses"),
    [
        ("ipv4.src: exact", "10.1.2.3", ["ipv4(src=10.1.2.3)"], ["ipv4(src=10.1.2.2)", "ipv4(src=138.1.2.3)", "ipv6", "arp"]),
        (
            "ipv4.src: lpm",
            "10.1.2.0/23",
            ["ipv4(src=10.1.2.0)", "ipv4(src=10.1.3.255)"],
            ["ipv4(src=10.1.1.255)", "ipv4(src=10.1.4.0)"],
        ),
        ("ipv6.src: lpm", "2001:db8::/33", ["ipv6(src=2001:db8:7fff::)"], ["ipv6(src=2001:db8:8000::)", "ipv4"]),
        ("ipv6.dst: exact", "2001:db8::1", ["ipv6(dst=2001:db8::1)"], ["ipv6(dst=2001:db8::)", "ipv6(dst=2001:db8::1:1)"]),
        ("eth.src: exact", "02:00:00:00:00:07", ["ipv4"], ["arp"]),
        (
            "vlan.id: exact",
            "7",
            ["vlan(id=7) / arp", "vlan(id=7) / vlan(id=9)"],
            ["vlan(id=6) / arp", "vlan(id=9) / vlan(id=7)", "arp"],
        ),
        ("vlan.inner.id: exact", "7", ["vlan / vlan(id=7)"], ["vlan(id=7)", "vlan(id=7) / vlan(id=6)"]),
        ("l4.dport: exact", "80", ["ipv4 / tcp(dport=80)", "ipv6 / udp(dport=80)"], ["ipv4 / tcp(dport=81)", "ipv4 / icmp"]),
        ("tcp.dport: exact", "80", ["ipv4 / tcp(dport=80)"], ["ipv4 / udp(dport=80)"]),
        ("ipv4.proto: exact", "tcp", ["ipv4 / tcp"], ["ipv4 / udp", "ipv6 / tcp"]),
        ("icmp.type: exact", "8", ["ipv4 / icmp"], ["ipv4 / icmp(type=0)", "ipv6 / icmpv6(type=8)"]),
        ("arp.op: exact", "reply", ["arp(op=reply)"], ["arp(op=request)", "ipv4"]),
    ],
)
def test_columns_of_unordered_tables(column: str, rule: str, hits: list[str], misses: list[str]) -> None:
    text = (
        f"service s {{\n table t {{\n match {column}\n action drop, next\n default next\n size 4\n }}\n chain ingress {{ t }}\n}}"
    )
    service = running(text, {"t": f"{rule} -> drop"})
    for packet in hits:
        source = "02:00:00:00:00:07" if "eth" in column else "02:00:00:00:00:06"
        assert result(service, frame_of(f"eth(src={source}) / {packet}")) == ("drop", "drop: rule t"), packet
    for packet in misses:
        assert result(service, frame_of(f"eth(src=02:00:00:00:00:06) / {packet}")) == ("next", "next"), packet


@pytest.mark.parametrize(
    ("column", "rule", "hits", "misses"),
    [
        ("l4.dport: range", "80..90", [80, 85, 90], [79, 91, 0, 65535]),
        ("l4.dport: range", "0..65535", [0, 80, 65535], []),
        ("l4.dport: ternary", "0x0050 &&& 0xfff0", [80, 95], [79, 96, 0x8050]),
        ("l4.dport: exact", "80", [80], [79, 81]),
    ],
)
def test_columns_of_ordered_tables(column: str, rule: str, hits: list[int], misses: list[int]) -> None:
    text = f"""service s {{
        table t {{
            match {column}
            action drop, next
            default next
            order first
            size 4
        }}
        chain ingress {{ t }}
    }}"""
    service = running(text, {"t": f"{rule} -> drop"})
    for port in hits:
        assert result(service, frame_of(f"eth / ipv4 / udp(dport={port})"))[0] == "drop", port
    for port in misses:
        assert result(service, frame_of(f"eth / ipv4 / udp(dport={port})"))[0] == "next", port
    assert result(service, ARP)[0] == "next"


def test_a_table_over_per_packet_state_always_has_a_value() -> None:
    text = """
    service s {
        meta class: u8
        table t {
            match   class: exact
            action  drop, next
            default next
            size    4
        }
        chain ingress {
            stage classify { if tcp { class = 3 } }
            t
        }
    }
    """
    service = running(text, {"t": "3 -> drop"})
    assert [result(service, frame)[0] for frame in (WEB, DNS, ARP)] == ["drop", "next", "next"]
    assert result(running(text, {"t": "0 -> drop"}), ARP) == ("drop", "drop: rule t")


# ---- counts


def test_packets_and_bytes_are_counted_as_they_enter_a_table() -> None:
    firewall = running(FIREWALL, {"sources": "10.0.0.0/8 -> drop\n10.1.0.0/16 -> next", "ports": "80 -> next"})
    for frame in (WEB, WEB, DNS, ARP):
        firewall.run("ingress", frame)
    assert counts(firewall, "sources") == [(2, len(DNS) + len(ARP)), (0, 0), (2, 2 * len(WEB))]
    assert counts(firewall, "ports") == [(2, len(DNS) + len(ARP)), (2, 2 * len(WEB))]


def test_a_rule_with_the_same_match_keeps_its_count() -> None:
    firewall = running(FIREWALL, {"ports": "53 -> next\n80 -> next"})
    for frame in (WEB, DNS, DNS, ARP):
        firewall.run("ingress", frame)
    firewall.set_rules("ports", rules_of(firewall.service, "ports", "80 -> drop\n443 -> next"))
    assert [packets for packets, _ in counts(firewall, "ports")] == [1, 1, 0]
    assert result(firewall, WEB) == ("drop", "drop: rule ports")
    assert [packets for packets, _ in counts(firewall, "ports")] == [1, 2, 0]


def test_unknown_names_are_mistakes_of_the_caller() -> None:
    firewall = running(FIREWALL)
    (rule,) = rules_of(firewall.service, "ports", "80 -> drop")
    with pytest.raises(ValueError, match="has no table nothing"):
        Interpreter(firewall.program, firewall.service, {"nothing": [rule]})
    with pytest.raises(ValueError, match="has no setting nothing"):
        firewall.set_config("nothing", 1)
    with pytest.raises(ValueError, match="table sources has no action via"):
        firewall.set_rules("sources", [type(rule)(rule.matches, "via")])


# ---- the trace


def test_the_steps_tell_the_way_of_a_packet() -> None:
    text = """
    service s {
        table t {
            match   l4.dport: exact
            action  mark, next
            default next
            size    4
        }
        action mark(value: u6) { if ipv4 { ipv4.dscp = value } }
        chain ingress {
            if ipv4 { t }
            stage last { if udp { drop } }
        }
    }
    """
    service = running(text, {"t": "53 -> mark(46)\n80 -> mark(10)"})
    outcome = service.run("ingress", WEB)
    span = outcome.steps[0].span
    assert outcome.steps == (
        BranchTaken(True, span),
        Lookup("t", 2, "mark", (10,), span),
        BranchTaken(True, span),
        StageRun("last", span),
        BranchTaken(False, span),
    )
    assert [str(step) for step in outcome.steps] == [
        "line 11: then",
        "table t: rule 2 -> mark(10)",
        "line 9: then",
        "stage last",
        "line 12: else",
    ]
    assert str(service.run("ingress", frame_of("eth / ipv4 / icmp")).steps[1]) == "table t: default -> next"
