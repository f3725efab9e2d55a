"""After any sequence of commands, failed and killed ones among them, and an unload, the kernel holds nothing of ours."""

from __future__ import annotations

import sys

import pytest

from bench.lab import Lab
from soak.proving_ground import COMMANDS, NAME, ProvingGround
from soak.sequences import bpftool_list, left_in_kernel, play_sequence
from tests.seed import SEED

pytestmark = pytest.mark.kernel


def test_after_a_random_sequence_nothing_is_left() -> None:
    sys.stderr.write(f"seed {SEED}\n")
    result = play_sequence(25, SEED, show=lambda words: None)
    assert (result.left, result.faults) == ((), ())
    assert result.objects > 50
    assert result.worked + result.refused + result.failed + result.killed >= 26


def test_what_is_loaded_is_found_by_its_id_and_by_its_name() -> None:
    """The test of the test: a gate that is there is no longer there once it is unloaded, and both ways of looking see it."""
    (load,) = (command for command in COMMANDS if command.name == "load")
    with Lab() as lab, ProvingGround(lab) as ground:
        before = bpftool_list()
        assert ground.watched(load, lambda listener, call: listener.allow(call))[0].status == 0
        by_both = left_in_kernel(ground, before)
        assert any(line.endswith(" entry") for line in by_both), "an id, for the name could be anybody's"
        held, ground.held.ids = ground.held.ids, {}
        by_name = left_in_kernel(ground, before)
        assert len(by_name) >= 4
        assert set(by_name) < set(by_both)
        assert all(line.split()[-1].startswith(ground.names) for line in by_name)
        ground.held.ids = held
        ground.driver.run("unload", NAME)
        assert ground.residue() == []
        assert left_in_kernel(ground, before) == []
