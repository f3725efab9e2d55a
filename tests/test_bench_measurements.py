"""What `make bench` stands on: its rules, packets and sources are what they are said to be, and a loss would be seen."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

import pytest

from bench.classify import classify
from bench.commands import Commands, Task, time_tasks
from bench.compiled import Compiled
from bench.long_source import LINES, long_source
from bench.packets import Covered, addresses_of, drop_rules, random_prefixes, rotation
from bench.swaps import LONGER, Counts, measure_swaps, percentile
from pcnc.compile import check
from pcnc.run_tests import InterpreterTarget, run_test
from pcnc.source import Source

ROOT = Path(__file__).parents[1]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


# ---- text


def test_the_long_source_has_so_many_lines_and_no_problem() -> None:
    text = long_source(3)
    assert len(text.splitlines()) == 3 * LINES == 300
    checked = check(Source("long.pcn", text))
    assert not checked.warnings
    for service in checked.program.services:
        assert service.tests
        for each in service.tests:
            outcome = run_test(checked.program, service, each, InterpreterTarget(checked.program, service))
            assert not outcome.diagnostics


def test_covered_is_what_the_prefixes_cover() -> None:
    random = Random(1)
    prefixes = random_prefixes(300, random)
    assert len(set(prefixes)) == 300
    covered = Covered(prefixes)
    edges = [int(network.network_address) for network in prefixes] + [int(network.broadcast_address) for network in prefixes]
    for address in (*edges, *(edge - 1 for edge in edges), *(edge + 1 for edge in edges)):
        assert (address in covered) == any(IPv4Address(address) in network for network in prefixes)
    assert 1 not in Covered([])


def test_half_of_the_packets_are_met_by_a_rule_of_each_table() -> None:
    random = Random(2)
    sources, destinations = random_prefixes(20, random), random_prefixes(20, random)
    frames = rotation(2_000, sources, destinations, random)
    assert {len(frame) for frame in frames} == {66}
    pairs = [addresses_of(frame) for frame in frames]
    for met in (sum(pair[0] in Covered(sources) for pair in pairs), sum(pair[1] in Covered(destinations) for pair in pairs)):
        assert 900 < met < 1_100


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (99.5, 100), (100, 100), (0, 1)])
def test_percentile(percent: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


@pytest.mark.parametrize(
    ("counts", "wrong"),
    [
        (Counts(arrived=10, arrived_bytes=660, by_rule=10, by_rule_bytes=10 * (66 + LONGER), dropped=10), 0),
        (Counts(arrived=11, arrived_bytes=660 + 66 + LONGER, by_rule=9, by_rule_bytes=9 * (66 + LONGER), dropped=9), 1),
        (Counts(arrived=8, arrived_bytes=8 * 66, by_rule=12, by_rule_bytes=10 * (66 + LONGER) + 2 * 66, dropped=12), 2),
        (Counts(arrived=9, arrived_bytes=9 * 66, by_rule=10, by_rule_bytes=10 * (66 + LONGER), dropped=11), 1),
    ],
    ids=["all right", "a blocked one arrived", "the rule dropped two open ones", "something else dropped one"],
)
def test_what_met_a_wrong_verdict_is_told_by_lengths(counts: Counts, wrong: int) -> None:
    assert counts.wrong == wrong


def test_a_command_is_timed_behind_what_goes_before_it(tmp_path: Path) -> None:
    done: list[str] = []
    tasks = [
        Task("version", ("--version",), 1.0, lambda: done.append("before")),
        Task("check", ("check", str(ROOT / "examples/firewall.pcn"))),
    ]
    version, checked = time_tasks(Commands(tmp_path), tasks, rounds=2)
    assert done == ["before"] * 3
    assert (version.what, version.bound, version.runs) == ("version", 1.0, 2)
    assert 0 < version.least <= version.wall
    assert checked.cpu > 0


def test_a_command_that_fails_is_not_timed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"`pcnc check nothing\.pcn` failed"):
        time_tasks(Commands(tmp_path), [Task("check", ("check", "nothing.pcn"))], rounds=1)


def test_a_measurement_that_does_not_exist_is_named() -> None:
    done = bench("nonsense")
    assert done.returncode == 2
    assert "there is no measurement 'nonsense'; there are classify, commands, toolchains, flips, swaps" in done.stderr


# ---- kernel


@pytest.mark.kernel
@pytest.mark.parametrize(("tables", "pruned", "blocks"), [(0, True, 1), (1, True, 2), (2, True, 3), (0, False, 3)])
def test_what_is_measured_is_pruned_for_its_rules(tables: int, pruned: bool, blocks: int) -> None:
    rules = {
        name: drop_rules(random_prefixes(int(index < tables), Random(index)))
        for index, name in enumerate(("sources", "destinations"))
    }
    with Compiled(rules, pruned=pruned) as compiled:
        assert compiled.blocks == blocks


@pytest.mark.kernel
def test_compiled_and_hand_written_are_measured_side_by_side() -> None:
    """Each program is tried on packets before it is timed; a wrong verdict would raise."""
    rows = list(classify([(0, 0), (3, 0), (2, 5)], many=64, rounds=4))
    assert [(row.sources, row.destinations, row.packets, row.blocks) for row in rows] == [
        (*size, packets, blocks) for size, blocks in (((0, 0), 1), ((3, 0), 2), ((2, 5), 3)) for packets in (1, 64)
    ]
    for row in rows:
        assert all(-5 < cost < 10_000 for cost in (row.compiled, row.unpruned, row.twin, row.whole_twin))


@pytest.mark.kernel
def test_nothing_is_lost_and_no_verdict_is_wrong_while_the_firewall_is_swapped() -> None:
    told: list[int] = []
    result = measure_swaps(swaps=30, packets=20_000, progress=told.append)
    assert (result.lost, result.wrong) == (0, 0)
    assert result.sent >= 20_000
    assert result.arrived > 0
    assert result.dropped > 0
    assert result.sent == result.arrived + result.dropped + result.overruns
    assert result.swaps >= 30
    assert told == list(range(1, result.swaps + 1))
    assert 0 < result.flip_median <= result.in_force_median <= result.in_force_p99
