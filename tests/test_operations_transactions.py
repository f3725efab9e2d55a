"""Changes of several tables at once, under traffic: a packet meets all of them or none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.traffic import Generator
from pcnc.change_reader import read_changes
from pcnc.cli.compile_service import recompile
from pcnc.rule_edits import Edit
from pcnc.source import Source
from pcnc_runtime.errors import RefusedEdits
from pcnc_runtime.operations import change_rules, describe, history, read_schemas
from pcnc_runtime.state import place_of
from tests.live_service import FIREWALL, Wire, chain, loaded, traces, udp

pytestmark = pytest.mark.kernel

TO_DESTINATIONS = "delete sources 10.0.0.0/8\nadd destinations 192.0.2.2 -> drop\n"
TO_SOURCES = "delete destinations 192.0.2.2\nadd sources 10.0.0.0/8 -> drop\n"
"""A block that moves from one table to the other: a packet that it is meant for is dropped by the one or by the other."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def edits_of(name: str, text: str) -> list[Edit]:
    found = read_changes(Source("changes", text), read_schemas(name))
    assert found.problems == ()
    return list(found.edits)


def blocked(name: str) -> int:
    """Packets that a rule of either table dropped, since the service was loaded."""
    reasons = dict(chain(name).reasons)
    return reasons["drop: rule sources"] + reasons["drop: rule destinations"]


def leaked(wire: Wire, name: str, rounds: int, *, at_once: bool) -> tuple[int, int]:
    """Moves the block to and fro under traffic that it is meant for; packets sent, and those that were not dropped."""
    change_rules(name, edits_of(name, "add sources 10.0.0.0/8 -> drop"), recompile=recompile)
    moves = [edits_of(name, TO_DESTINATIONS), edits_of(name, TO_SOURCES)]
    before = blocked(name)
    with Generator(wire.left, "eth0", udp("10.0.0.1", "192.0.2.2"), rate=100_000) as generator:
        while generator.sent < 1000:
            time.sleep(0.01)
        for move in moves * rounds:
            for edits in [move] if at_once else [[edit] for edit in move]:
                change_rules(name, edits, recompile=recompile)
        sent = generator.stop()
    assert generator.overruns == 0
    return sent, sent - (blocked(name) - before)


def test_a_packet_meets_all_changes_or_none(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        sent, passed = leaked(wire, name, 10, at_once=True)
        assert sent > 10_000
        assert passed == 0
        assert len(history(name)) == describe(name).generation == 22, "each of them was one generation"
        found = traces(name)
    assert found.remaining() == []


def test_one_after_the_other_they_let_packets_through(wire: Wire) -> None:
    """The measurement sees it where a change is not one."""
    with loaded(wire, FIREWALL) as name:
        _, passed = leaked(wire, name, 3, at_once=False)
        assert passed > 0


def test_where_one_is_refused_packets_meet_none(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change_rules(name, edits_of(name, "add sources 10.0.0.0/8 -> drop"), recompile=recompile)
        before, state = blocked(name), place_of(name).read()
        packet = udp("10.0.0.1", "192.0.2.2")
        with Generator(wire.left, "eth0", packet, udp("11.0.0.1", "192.0.2.2"), rate=50_000) as generator:
            for _ in range(10):
                with pytest.raises(RefusedEdits):
                    change_rules(name, edits_of(name, TO_DESTINATIONS + "delete sources id 99"), recompile=recompile)
            sent = generator.stop()
        assert generator.overruns == 0
        assert blocked(name) - before == (sent + 1) // 2, "every other packet, as before"
        assert place_of(name).read() == state
        assert place_of(name).pinned_generations() == (1, 2)
