"""Packets that stay in a generation for long: it is let go of when they have left, through any number of changes meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.lab import Lab
from pcnc.rules import Interval, MaskedValue, Rule
from pcnc_runtime.operations import ReplaceRules, change_rules, rollback, set_configs
from pcnc_runtime.pins import open_program
from pcnc_runtime.programs import run_program
from pcnc_runtime.state import place_of
from tests.live_service import Wire, chain, loaded, reason, udp

pytestmark = pytest.mark.kernel

SLOW = """
service slow {
    config version: u8 = 0
    meta seen: u8
    table list { match ipv4.src: prefix, l4.dport: range; action drop, next; default next; order first; size 8k }
    chain ingress {
        stage first { seen = version }
        list; list; list; list; list; list; list; list; list; list; list; list
        stage last  { if seen != version { drop } }
    }
}
"""
"""Twelve times through a list that no packet is in, one rule after another: some tenths of a millisecond."""

RULES = tuple(Rule((MaskedValue(0x0B000000 + number, 0xFFFFFFFF), Interval(1, 1)), "drop") for number in range(5_000))
MIXED, LOST = "drop: stage last", "drop: tail call"


@pytest.fixture
def name(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    with Wire(lab) as wire, loaded(wire, SLOW) as name:
        change_rules(name, [ReplaceRules("list", RULES)])
        yield name


@contextmanager
def packets(name: str) -> Iterator[list[int]]:
    """Packets that go in as fast as they come out, from a thread; how many it has sent."""
    stopping, sent = threading.Event(), [0]

    def send(fd: int) -> None:
        packet = udp()
        while not stopping.is_set():
            run_program(fd, packet, room=2048)
            sent[0] += 1

    with open_program(place_of(name).pins / "program_ingress") as program:
        thread = threading.Thread(target=send, args=(program.fd,), daemon=True)
        thread.start()
        try:
            yield sent
        finally:
            stopping.set()
            thread.join()


def test_no_packet_loses_the_generation_that_it_is_in(name: str) -> None:
    before = chain(name).packets
    with packets(name) as sent:
        for turn in range(1, 7):
            set_configs(name, {"version": turn})
            if turn % 3 == 0:
                rollback(name)
    counted = chain(name).packets
    assert counted - before == sent[0] == reason(name, "next") - before
    assert reason(name, MIXED) == reason(name, LOST) == 0
