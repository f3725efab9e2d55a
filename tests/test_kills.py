"""Commands that are killed before system calls of theirs, under traffic: a part of what `make soak` does."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

from bench.lab import Lab
from soak.kills import AT_ITS_END, Position, count_calls, drawn_calls, every_call, faults_in_words, kill_at
from soak.proving_ground import COMMANDS, Command, ProvingGround
from tests.seed import SEED

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def ground() -> Iterator[ProvingGround]:
    with Lab() as lab, ProvingGround(lab) as made:
        yield made


def check(ground: ProvingGround, positions: list[Position]) -> None:
    sys.stderr.write(f"seed {SEED}: {len(positions)} kills\n")
    deaths = [kill_at(ground, position) for position in positions]
    assert faults_in_words(deaths) == ""
    assert sum(death.call == AT_ITS_END for death in deaths) <= 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_killed_before_a_call_that_changes_something(ground: ProvingGround, command: Command) -> None:
    ground.warm_up(command)
    positions = every_call(ground, command)
    check(ground, random.Random(SEED).sample(positions, min(len(positions), 4)))


def test_killed_around_the_flip_of_a_swap(ground: ProvingGround) -> None:
    (command,) = (command for command in COMMANDS if command.name == "swap")
    ground.warm_up(command)
    calls = count_calls(ground, command)
    flip = max(number for number, call in enumerate(calls, start=1) if call == "bpf MAP_UPDATE_ELEM")
    check(ground, [Position(command, number) for number in range(flip - 2, flip + 7)])


def test_killed_before_any_call(ground: ProvingGround) -> None:
    check(ground, drawn_calls(ground, SEED, 6, [command for command in COMMANDS if not command.only_netlink]))


def test_what_is_not_killed_is_seen_to_end_and_a_fault_is_seen(ground: ProvingGround) -> None:
    """The test of the test: a gate that is taken off behind the back of a command is a violation, what is left is residue."""
    (command,) = (command for command in COMMANDS if command.name == "rollback")
    ground.warm_up(command)
    ground.prepare(command)
    assert ground.scene.looks(command.looks) == ("0", [])
    ground.scene.gated.run("ip", "link", "set", "eth0", "xdp", "off")
    found, faults = ground.scene.looks(command.looks)
    assert found.startswith("none/")
    assert "though every version drops them" in faults[0]
    left = ground.residue()
    assert any(line.startswith("pin ") for line in left)
    assert any(line.startswith("file ") for line in left)
    assert any("clsact" in line for line in left)
    ground.clean()
    assert ground.residue() == []
