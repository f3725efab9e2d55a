"""Whatever changed between two versions: each packet that comes meanwhile meets the one or the other, and is counted once."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from bench.lab import Lab, Namespace
from pcnc.diagnostics import CompileError
from pcnc.lower import lower
from pcnc.manifest import Hook
from pcnc_runtime.changes import Change
from pcnc_runtime.operations import rollback
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import open_program_by_id
from pcnc_runtime.state import place_of
from tests.live_service import traces
from tests.pcn_text import program_of
from tests.version_pairs import LONGEST, NINE, OTHER_NINE, PAIRS, frames_for, random_version, stages
from tests.version_walk import Version, Walk

pytestmark = pytest.mark.kernel

RANDOM_PAIRS = int(os.environ.get("PCNC_SWAP_PAIRS", "4"))
"""How many pairs of random versions each hook sees."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


@pytest.fixture
def namespace(lab: Lab) -> Namespace:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    return right


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_pairs_by_hand(namespace: Namespace, hook: Hook) -> None:
    """From the first to the second, back and forth by rollbacks, and back by a swap."""
    random = Random(1)
    versions = {text: Version(text, hook) for pair in PAIRS.values() for text in pair}
    first = next(iter(PAIRS.values()))[0]
    with Walk(namespace, versions[first]) as walk:
        for name, (old, new) in PAIRS.items():
            frames = frames_for(random)
            try:
                walk.swap(versions[old], frames)
                walk.swap(versions[new], frames)
                walk.rollback(frames)
                walk.rollback(frames)
                walk.swap(versions[old], frames)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None
        assert walk.told_apart > 100
        found = traces(walk.name)
    assert found.remaining() == []


def test_there_may_not_be_one_block_more() -> None:
    """The longest way of the pairs is what the compiler takes, and the kernel runs."""
    with pytest.raises(CompileError) as caught:
        lower(*program_of(stages(LONGEST + 1, 3)))
    assert [each.name for each in caught.value.diagnostics] == ["pipeline-too-long"]


@pytest.mark.timeout(120 + 60 * RANDOM_PAIRS)
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_random_pairs(namespace: Namespace, hook: Hook) -> None:
    random = Random(f"pairs {hook}")
    with Walk(namespace, random_version(random, hook)) as walk:
        for pair in range(RANDOM_PAIRS):
            frames, version = frames_for(random, 60), random_version(random, hook)
            try:
                walk.swap(version, frames)
                walk.set({"limit": random.choice((0, 80, 0xFFFF))}, frames)
                for _ in range(random.randrange(3)):
                    walk.rollback(frames)
            except AssertionError as error:
                raise AssertionError(f"pair {pair}: {error}\n{version.text}") from None
        assert walk.told_apart > 0
        found = traces(walk.name)
    assert found.remaining() == []


def test_a_swap_block_by_block_would_be_noticed(namespace: Namespace) -> None:
    """The walk itself: who writes the new blocks over the old ones, one by one, lets packets meet both, and it says so."""
    frames = frames_for(Random(3))
    with Walk(namespace, Version(NINE, "xdp")) as walk:
        change = walk.swap(Version(OTHER_NINE, "xdp"), frames)
        walk.rollback(frames)
        place = place_of(walk.name)

        def write_blocks() -> Change:
            with ExitStack() as stack:
                old, new = (
                    stack.enter_context(open_map(place.generation(number) / "blocks_ingress")) for number in (1, change.generation)
                )
                for slot, id in reversed(list(enumerate(new.slots()))):
                    assert id is not None
                    with open_program_by_id(id) as program:
                        old.set_slot(slot, program.fd)
                    time.sleep(0.02)
            return rollback(walk.name)

        with pytest.raises(AssertionError, match=r"ingress: [0-9a-f]+ became"):
            walk.change(walk.previous, frames, write_blocks)
