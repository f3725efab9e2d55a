"""What statements do: state, settings, assignments, conditions."""

from __future__ import annotations

import pytest

from pcnc.interpret import Interpreter, Outcome
from tests.pcn_text import frame_of, running

pytestmark = pytest.mark.text

WEB = frame_of("eth / ipv4(src=10.1.2.3) / tcp(dport=80)")
DNS = frame_of("eth / ipv4(src=11.1.2.3) / udp(dport=53)")
SIX = frame_of("eth / ipv6 / tcp(dport=80)")


def result(interpreter: Interpreter, frame: bytes) -> tuple[str, str]:
    outcome = interpreter.run("ingress", frame)
    return outcome.verdict, outcome.reason


def stage(body: str, frame: bytes = WEB) -> Outcome:
    """What a single stage with this body does to a frame."""
    text = f"service s {{\n chain ingress {{\n stage work {{\n{body}\n }}\n }}\n}}\n"
    return running(text).run("ingress", frame)


def test_state_is_zero_at_the_start_of_every_packet() -> None:
    text = """
    service s {
        meta seen: u16
        chain ingress {
            stage work {
                if seen != 0 { drop }
                seen = 0xffff
            }
        }
    }
    """
    service = running(text)
    assert [result(service, WEB)[0] for _ in range(3)] == ["next"] * 3


def test_settings_are_read_as_they_are_now() -> None:
    text = """
    service s {
        config limit: u8 = 64
        chain ingress {
            stage work { if ipv4 { if ipv4.ttl < limit { drop } } }
        }
    }
    """
    service = running(text)
    assert result(service, WEB) == ("next", "next")
    service.set_config("limit", 65)
    assert result(service, WEB) == ("drop", "drop: stage work")
    assert result(running(text, configs={"limit": 65}), WEB) == ("drop", "drop: stage work")


def test_assignments_move_checksums_and_later_reads_see_them() -> None:
    body = """
        if ipv4 and l4 {
            let before = ipv4.src
            ipv4.src = 192.0.2.7
            ipv4.dst = before
            ipv4.ttl -= 1
            l4.dport = 8080
            if l4.dport != 8080 or ipv4.src != 192.0.2.7 { drop }
        }
    """
    outcome = stage(body)
    assert outcome.reason == "next"
    assert outcome.frame == frame_of("eth / ipv4(src=192.0.2.7, dst=10.1.2.3, ttl=63) / tcp(dport=8080)")
    assert stage(body, DNS).frame == frame_of("eth / ipv4(src=192.0.2.7, dst=11.1.2.3, ttl=63) / udp(dport=8080)")
    assert stage(body, SIX).frame == SIX


def test_a_first_fragment_keeps_both_sums_right_a_later_one_only_that_of_ipv4() -> None:
    body = "if ipv4 { ipv4.dst = 198.51.100.1 }"
    first = stage(body, frame_of("eth / ipv4(more_fragments=1) / udp(dport=53)")).frame
    assert first == frame_of("eth / ipv4(more_fragments=1, dst=198.51.100.1) / udp(dport=53)")
    later = frame_of("eth / ipv4(fragment_offset=9, proto=17) / payload(32)")
    changed = stage(body, later).frame
    assert changed == frame_of("eth / ipv4(fragment_offset=9, proto=17, dst=198.51.100.1) / payload(32)")


def test_what_a_packet_was_changed_to_before_it_was_dropped() -> None:
    outcome = stage("if ipv4 { ipv4.ttl = 1; drop }")
    assert outcome.verdict == "drop"
    assert outcome.frame == frame_of("eth / ipv4(src=10.1.2.3, ttl=1) / tcp(dport=80)")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("packet.length == 54", True),
        ("packet.length == 53", False),
        ("tcp", True),
        ("l4", True),
        ("udp", False),
        ("not udp", True),
        ("vlan or arp", False),
        ("tcp.flags == syn", True),
        ("tcp.flags & (syn | ack) == syn", True),
        ("tcp.flags & ack != 0", False),
        ("ipv4.proto == tcp", True),
        ("ipv4.proto in (udp, tcp)", True),
        ("ipv4.proto in (udp, icmp)", False),
        ("ipv4.src in 10.0.0.0/8", True),
        ("ipv4.src in 11.0.0.0/8", False),
        ("tcp.dport in 80..90", True),
        ("tcp.dport in (79, 81..90)", False),
        ("tcp.sport in 1023..1025", True),
        ("ipv4.ttl + 192 == 0", True),
        ("ipv4.ttl - 65 == 255", True),
        ("-ipv4.ttl == 192", True),
        ("~ipv4.ttl == 191", True),
        ("ipv4.ttl * 4 == 0", True),
        ("ipv4.ttl << 1 == 128", True),
        ("ipv4.ttl << 2 == 0", True),
        ("ipv4.ttl >> 6 == 1", True),
        ("u16(ipv4.ttl) * 4 == 256", True),
        ("u4(tcp.dport) == 0", True),
        ("ipv4.ttl % 60 == 4", True),
        ("eth.dst.is_multicast", False),
    ],
)
def test_conditions(condition: str, holds: bool) -> None:
    outcome = stage(f"if ipv4 and tcp {{ if {condition} {{ drop }} }}")
    assert (outcome.verdict == "drop") == holds


def test_division_and_remainder_by_a_field_that_is_zero() -> None:
    outcome = stage("if ipv4 and tcp { if tcp.dport / ipv4.id != 0 or tcp.dport % ipv4.id != 80 { drop } }")
    assert outcome.verdict == "next"
