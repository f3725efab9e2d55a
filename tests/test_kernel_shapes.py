"""Shapes: code made for just the rules at hand does what the general code does, and what no rule needs is not in the kernel."""

from __future__ import annotations

import re
import subprocess
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from pcnc.cli.compile_service import recompile
from pcnc.manifest import Hook
from pcnc.program_words import ChainName
from pcnc.rule_edits import AddRule, DeleteRule
from pcnc_runtime.attach import xdp_attachment
from pcnc_runtime.changes import Change
from pcnc_runtime.operations import change_rules, describe, swap
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import open_program_by_id
from pcnc_runtime.state import place_of
from tests.agreement import Agreement
from tests.frames import ethernet, ip6
from tests.live_service import Wire, chain, compiled, loaded, prefix, reason, udp, with_rules
from tests.random_packets import random_frame

pytestmark = pytest.mark.kernel

LAYERED = """
service layered {
    meta class: u8
    config limit: u8 = 40
    table sources {
        match   ipv4.src: lpm
        action  drop, next, mark
        count   packets, bytes
    }
    table ports {
        match   l4.dport: range, ipv4.proto: ternary, vlan.id: exact
        action  drop, mark, pass
        default mark(1)
        order   first
        count   packets
    }
    table six {
        match   ipv6.dst: prefix
        action  drop, next, mark
        default drop
        order   first
        count   packets
    }
    action mark(value: u8) { class = value }
    stage act {
        if class > limit { drop }
        if ipv4 { ipv4.dscp = class % 64 }
        if ipv6 { ipv6.hop_limit -= 1 }
    }
    chain ingress { sources; if ipv4 { ports } else { six }; act }
    chain egress { six; act }
}
"""
LAYERED_RULES = {
    "sources": "10.0.0.0/8 -> mark(7); 10.128.0.0/9 -> drop; 192.0.2.0/25 -> mark(50); * -> next",
    "ports": "l4.dport=22..80, ipv4.proto=6 -> mark(9); l4.dport=443 -> pass; vlan.id=1 -> drop; ipv4.proto=17 -> mark(41)",
    "six": "2001:db8::/64 -> next; 2001:db8::/32 -> mark(3); fe80::/10 -> next; ff00::/8 -> drop",
}


@pytest.mark.parametrize("count", range(4))
def test_whichever_tables_hold_rules_the_general_code_does_the_same(count: int) -> None:
    random = Random(count)
    chains: tuple[ChainName, ...] = ("ingress", "egress")
    reasons = set()
    with Agreement(LAYERED) as tried:
        for filled in combinations(LAYERED_RULES, count):
            for table, rules in LAYERED_RULES.items():
                tried.set_rules(table, rules if table in filled else "")
            for _ in range(60):
                frame = random_frame(random)
                for way in chains:
                    tried.hits(frame, way)
                    reasons.add(tried.run(frame, way).reason)
    assert {"next", "drop: default six"} <= reasons


@pytest.mark.parametrize("table", list(LAYERED_RULES))
def test_rules_with_one_action_leave_the_others_out(table: str) -> None:
    random = Random(table)
    with Agreement(LAYERED) as tried:
        for rule in LAYERED_RULES[table].split("; "):
            tried.set_rules(table, rule)
            for _ in range(40):
                tried.hits(random_frame(random))


def test_a_hundred_metas_begin_at_0() -> None:
    metas = "".join(f"meta m{n}: ipv6_addr\n" for n in range(100))
    moves = "".join(f"m{n} = m{n + 1}\n" for n in range(99))
    text = f"service s {{\n{metas}chain ingress {{ stage s {{\n{moves}if ipv6 {{ m99 = ipv6.src; ipv6.dst = m0 }}\n}} }} }}\n"
    with Agreement(text, general=False) as tried:
        for _ in range(2):
            assert tried.run(ethernet(ip6())).frame[38:54] == bytes(16)


# ---- what is in the kernel

FIREWALL = (Path(__file__).parents[1] / "examples" / "firewall.pcn").read_text()
SOURCE, DESTINATION = AddRule("sources", prefix("10.0.0.0/8")), AddRule("destinations", prefix("192.0.2.66"))
NO_SOURCE = DeleteRule("sources", match=SOURCE.rule.matches)
NO_DESTINATION = DeleteRule("destinations", match=DESTINATION.rule.matches)
_LOAD = re.compile(r"= \*\((u8|u16|u32|u64) \*\)\(r\d+ \+(\d+)\)")


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def instructions(id: int) -> str:
    """A program as the kernel runs it."""
    return subprocess.run(["bpftool", "prog", "dump", "xlated", "id", str(id)], capture_output=True, text=True, check=True).stdout


def programs(name: str) -> dict[str, int]:
    """The ids of the programs in the slots of the live generation, by the names that the kernel knows them by."""
    found = {}
    with open_map(place_of(name).generation(describe(name).generation) / "blocks_ingress") as blocks:
        for id in blocks.slots():
            assert id is not None
            with open_program_by_id(id) as program:
                found[program.facts.name] = id
    return found


def loads(id: int) -> list[tuple[str, int]]:
    """What a program loads: width, and offset to whatever pointer."""
    return [(width, int(offset)) for width, offset in _LOAD.findall(instructions(id))]


def edited(name: str, *edits: AddRule | DeleteRule) -> Change:
    change = change_rules(name, edits, recompile=recompile)
    assert change.exact
    return change


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_stages_and_parsed_fields_come_and_go_with_the_rules(wire: Wire, hook: Hook) -> None:
    source, destination = ("u32", 12), ("u32", 16)
    blocked, other = udp("10.0.0.1"), udp("11.0.0.1", "192.0.2.66")
    with loaded(wire, FIREWALL, hook) as name:
        assert list(programs(name)) == ["end"], "no parser, no table"
        assert "bpf_tail_call" not in instructions(programs(name)["end"])
        assert wire.passes(blocked)
        assert wire.passes(other)

        edited(name, SOURCE)
        both = programs(name)
        assert list(both) == ["parser", "sources"]
        assert loads(both["parser"]).count(source) == 1
        assert destination not in loads(both["parser"])
        assert not wire.passes(blocked)
        assert wire.passes(other)

        edited(name, DESTINATION)
        both = programs(name)
        assert list(both) == ["parser", "sources", "destinations"]
        assert loads(both["parser"]).count(source) == loads(both["parser"]).count(destination) == 1
        assert not wire.passes(other)

        edited(name, NO_SOURCE)
        both = programs(name)
        assert list(both) == ["parser", "destinations"]
        assert source not in loads(both["parser"])
        assert loads(both["parser"]).count(destination) == 1
        assert wire.passes(blocked)
        assert not wire.passes(other)

        edited(name, NO_DESTINATION)
        assert list(programs(name)) == ["end"]
        assert wire.passes(other)
        assert reason(name, "drop: internal") == reason(name, "drop: tail call") == 0


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_without_a_compiler_the_general_code_runs_and_says_so(wire: Wire, hook: Hook) -> None:
    with loaded(wire, FIREWALL, hook) as name:
        change = change_rules(name, [SOURCE])
        assert not change.exact
        assert (change.variant, list(programs(name))) == ("general", ["parser", "sources", "destinations"])
        assert not wire.passes(udp("10.0.0.1"))
        assert wire.passes(udp("11.0.0.1", "192.0.2.66"))
        change = change_rules(name, [NO_SOURCE])
        assert change.exact
        assert list(programs(name)) == ["end"], "the shape as written is in the bundle"


def test_a_swap_brings_the_shape_of_its_rules(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        for rules, wanted in ((["10.0.0.0/8 -> drop"], ["parser", "sources"]), ([], ["end"])):
            made = compiled(with_rules(FIREWALL, "sources", *rules))
            assert swap(name, made.bundle, source=made.source).exact
            assert list(programs(name)) == wanted
            assert wire.passes(udp("10.0.0.1")) == (not rules)
        assert chain(name).packets > 0


NAMES = """
service names {
    table a_name_that_is_longer_than_the_kernel_takes { match ipv4.src: exact; action drop, next }
    table a_name_that_is_longer_than_the_others       { match ipv4.dst: exact; action drop, next }
    stage main { if ipv4 { ipv4.ttl += 1 } }
    chain ingress { a_name_that_is_longer_than_the_kernel_takes; a_name_that_is_longer_than_the_others; main }
}
"""


def test_the_kernel_knows_programs_by_their_names(wire: Wire) -> None:
    longest = 15
    text = NAMES
    tables = ["a_name_that_is_longer_than_the_kernel_takes", "a_name_that_is_longer_than_the_others"]
    for table in tables:
        text = with_rules(text, table, "10.0.0.1 -> drop")
    with loaded(wire, text) as name:
        facts = describe(name).chains[0]
        assert [block.plan.name for block in facts.blocks] == ["parser", *tables, "main"]
        for block in facts.blocks:
            with open_program_by_id(block.program_id) as program:
                assert program.facts.name == block.program_name == block.plan.function[:longest]
            assert f"int {block.plan.function}(" in instructions(block.program_id), "whole, in the type information"
        assert facts.entry_program_id == facts.blocks[0].program_id
        with wire.right.entered():
            attached = xdp_attachment("eth0")
        assert attached is not None
        with open_program_by_id(attached.program_id) as entry:
            assert entry.facts.name == "pcnc_ingress"
