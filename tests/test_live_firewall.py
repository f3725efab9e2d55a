"""The firewall between real sockets, at XDP (native and generic) and TC: who is blocked is, and nobody else notices anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab
from pcnc.cli.compile_service import recompile
from pcnc.rule_edits import AddRule, DeleteRule, Edit
from pcnc.rules import MaskedValue, Rule
from pcnc_runtime.operations import change_rules, describe, statistics, swap
from tests.live_hosts import BAD, BAD6, GOOD, GOOD6, HOOKS, SERVER, SERVER6, Hosts, Place, Talker, iperf3, on, told_by
from tests.live_service import chain, compiled, prefix, reason, with_rules

pytestmark = pytest.mark.kernel

FIREWALL = (Path(__file__).parents[1] / "examples" / "firewall.pcn").read_text()
SIX = """
service six {
    table sources {
        match   ipv6.src: lpm
        action  drop, next
        count   packets
    }
    chain ingress { sources }
}
"""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


@pytest.fixture
def hosts(lab: Lab) -> Iterator[Hosts]:
    made = Hosts(lab)
    yield made
    made.close()


@pytest.fixture(params=HOOKS, ids=[name for name, _, _ in HOOKS])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.param
    return found


def changed(name: str, *edits: Edit) -> None:
    change_rules(name, edits, recompile=recompile)


def deleted(rule: AddRule) -> DeleteRule:
    return DeleteRule(rule.table, match=rule.rule.matches)


BLOCK_BAD = AddRule("sources", prefix(f"{BAD}/32"))
BLOCK_OTHERS = AddRule("sources", prefix("198.51.100.0/24"))
BLOCK_PLACE = AddRule("destinations", prefix("203.0.113.0/24"))


def test_the_blocked_source_is_cut_off_and_the_other_is_not(hosts: Hosts, place: Place) -> None:
    _, hook, mode = place
    everything, nothing = [True] * 3, [False] * 3
    assert hosts.reach(BAD) == everything, "without the firewall"
    with on(hosts.server, FIREWALL, hook, mode) as name:
        assert hosts.reach(BAD) == everything, "without rules"
        changed(name, BLOCK_BAD)
        assert hosts.reach(GOOD) == everything
        assert hosts.reach(BAD) == nothing
        assert hosts.reach(GOOD6) == hosts.reach(BAD6) == everything, "what is no IPv4 is no source"
        changed(name, deleted(BLOCK_BAD), AddRule("destinations", prefix(f"{SERVER}/32")))
        assert hosts.reach(GOOD) == hosts.reach(BAD) == nothing
        changed(name, DeleteRule("destinations", id=1))
        assert hosts.reach(BAD) == everything
        assert reason(name, "drop: rule sources") > 0
        assert reason(name, "drop: rule destinations") > 0
        assert chain(name).dropped == reason(name, "drop: rule sources") + reason(name, "drop: rule destinations")
    assert hosts.reach(BAD) == everything, "unloaded"


def test_ipv6_sources_are_blocked_and_neighbours_still_found(hosts: Hosts, place: Place) -> None:
    _, hook, mode = place
    rule = Rule((MaskedValue(0xFD00_0080_0000_0000_0000_0000_0000_0066, (1 << 128) - 1),), "drop")
    with on(hosts.server, SIX, hook, mode) as name:
        changed(name, AddRule("sources", rule))
        hosts.client.run("ip", "-6", "neighbour", "flush", "dev", "eth0")
        hosts.server.run("ip", "-6", "neighbour", "flush", "dev", "eth0")
        assert hosts.reach(GOOD6) == [True] * 3
        assert hosts.reach(BAD6) == [False] * 3
        assert hosts.reach(BAD) == [True] * 3
        counted = statistics(name).table("sources")
        assert counted is not None
        assert counted.rules[0][1].packets == reason(name, "drop: rule sources") > 0
    assert hosts.connects(BAD6)
    assert SERVER6 in hosts.server.run("ip", "-6", "address", "show", "dev", "eth0")


def test_no_datagram_is_lost_while_rules_and_stages_come_and_go(hosts: Hosts, place: Place) -> None:
    """60 changes, parser and both stages coming and going: nobody notices but who is blocked, and just as long as that."""
    _, hook, mode = place
    steps: list[tuple[Edit, list[str], bool]] = [
        (BLOCK_BAD, ["parser", "sources"], True),
        (BLOCK_PLACE, ["parser", "sources", "destinations"], True),
        (BLOCK_OTHERS, ["parser", "sources", "destinations"], True),
        (deleted(BLOCK_BAD), ["parser", "sources", "destinations"], False),
        (deleted(BLOCK_OTHERS), ["parser", "destinations"], False),
        (deleted(BLOCK_PLACE), ["end"], False),
    ]
    blocked: list[int] = []
    allowed: list[int] = []
    with on(hosts.server, FIREWALL, hook, mode) as name:
        good, bad = Talker(hosts, GOOD), Talker(hosts, BAD)
        try:
            for turn in range(10):
                for edit, blocks, is_blocked in steps:
                    changed(name, edit)
                    (blocked if is_blocked else allowed).extend(bad.some())
                    if turn == 0:
                        assert [block.program_name for block in describe(name).chains[0].blocks] == blocks
        finally:
            good.hush()
            bad.hush()
        assert good.sent > 300
        assert good.answered == list(range(good.sent)), "all, once, in order"
        assert not set(blocked) & set(bad.answered)
        assert set(allowed) <= set(bad.answered)
        assert bad.answered == sorted(set(bad.answered)), "each once, in order"
        assert bad.sent - len(bad.answered) == reason(name, "drop: rule sources") == chain(name).dropped
        assert describe(name).generation == 1 + 60


def test_iperf3_runs_through_twenty_swaps_without_a_stall(hosts: Hosts, place: Place) -> None:
    _, hook, mode = place
    texts = [
        with_rules(FIREWALL, "sources", "198.51.100.0/24 -> drop"),
        with_rules(FIREWALL, "destinations", "203.0.113.0/24 -> drop"),
        with_rules(with_rules(FIREWALL, "sources", f"{BAD} -> drop"), "destinations", "203.0.113.0/24 -> drop"),
        FIREWALL,
    ]
    versions = [compiled(text, hook) for text in texts]
    with on(hosts.server, FIREWALL, hook, mode) as name:
        sending, serving = iperf3(hosts.client, hosts.server, "--time", "4", "--interval", "0.4")
        try:
            time.sleep(0.4)
            for number in range(20):
                swap(name, versions[number % len(versions)].bundle)
                time.sleep(0.02)
            assert sending.poll() is None, "the swaps took longer than the traffic"
            report = told_by(sending, 20)
            assert serving.wait(5) == 0
        finally:
            for process in (sending, serving):
                if process.poll() is None:
                    process.kill()
                process.communicate()
        intervals = [each["sum"]["bytes"] for each in report["intervals"]]
        assert len(intervals) >= 9
        assert min(intervals) > 0, intervals
        assert report["end"]["sum_received"]["bytes"] > 1 << 20
        assert chain(name).dropped == 0
        assert chain(name).packets > 100
