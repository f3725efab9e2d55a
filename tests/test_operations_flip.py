"""The flip and what follows it: in which order entries are written, what fails in the middle of that, and what fails after it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from pcnc_runtime import advance, recovery
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.generation import chains_of, put_into_force, runs_in
from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.operations import describe, read_settings, rollback, set_configs, swap
from pcnc_runtime.pins import open_map
from pcnc_runtime.records import State
from pcnc_runtime.state import Place, place_of
from tests.live_service import Wire, compiled, loaded, traces
from tests.test_operations_chains import BOTH, IN, filters

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the maps whose slot 0 is written, from now on."""
    ids: list[int] = []
    set_slot = KernelMap.set_slot

    def note(self: KernelMap, slot: int, fd: int) -> None:
        ids.append(self.facts.id)
        set_slot(self, slot, fd)

    monkeypatch.setattr(KernelMap, "set_slot", note)
    return ids


def entries(name: str) -> list[int]:
    """The ids of the arrays with the entries, egress first."""
    found = []
    for chain in ("egress", "ingress"):
        with open_map(place_of(name).pins / f"entry_{chain}") as entry:
            found.append(entry.facts.id)
    return found


def in_force(name: str) -> int:
    """The value of `limit`, by which generations differ, in what both chains run."""
    live = describe(name).generation
    place = place_of(name)
    assert all(runs_in(place, chain, live) for chain in chains_of(place))
    return read_settings(name)[0].value


def test_egress_is_written_first_each_time(wire: Wire, written: list[int]) -> None:
    """By a change, by a rollback, and by the command that goes on after one that was killed between the two."""

    def writes(work: Callable[[], object]) -> list[int]:
        written.clear()
        work()
        return [id for id in written if id in order]

    with loaded(wire, BOTH) as name:
        order = entries(name)
        assert writes(lambda: set_configs(name, {"limit": 1})) == order
        assert writes(lambda: rollback(name)) == order
        place, state = place_of(name), place_of(name).read()
        assert state is not None
        live, previous = state.kept
        with pytest.MonkeyPatch.context() as patch:

            def half(place: Place, number: int) -> float:
                patch.setattr("pcnc_runtime.generation.chains_of", lambda _: ("egress",))
                put_into_force(place, number)
                raise SystemExit

            patch.setattr(advance, "put_into_force", half)
            patch.setattr(advance.Loaded, "_switch_back", lambda _: None)
            with pytest.raises(SystemExit):
                rollback(name)
        assert runs_in(place, "egress", previous)
        assert runs_in(place, "ingress", live)
        assert writes(lambda: set_configs(name, {"limit": 5}))[:1] == order[1:], "what was begun is ended first"
        assert in_force(name) == 5


def test_what_fails_between_two_writes_is_taken_back(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    set_slot, order = KernelMap.set_slot, list[int]()

    def refuse_ingress(self: KernelMap, slot: int, fd: int) -> None:
        if order and self.facts.id == order[1]:
            order.append(0)
            if len(order) == 3:
                raise OSError(errno.ENOMEM, "out of memory")
        set_slot(self, slot, fd)

    with loaded(wire, BOTH) as name:
        set_configs(name, {"limit": 7})
        state, pinned = place_of(name).read(), place_of(name).pinned_generations()
        monkeypatch.setattr(KernelMap, "set_slot", refuse_ingress)
        commands: tuple[Callable[[], object], ...] = (
            lambda: set_configs(name, {"limit": 8}),
            lambda: rollback(name),
            lambda: swap(name, compiled(BOTH.replace("== 1", "== 3")).bundle),
        )
        for command in commands:
            order[:] = entries(name)
            with pytest.raises(RuntimeProblem) as caught:
                command()
            assert caught.value.name == "no-memory"
            assert (place_of(name).read(), place_of(name).pinned_generations()) == (state, pinned)
            assert in_force(name) == 7
            assert filters(wire) == (True, True)
        order.clear()
        set_configs(name, {"limit": 9})
        found = traces(name)
    assert found.remaining() == []


def test_what_fails_after_the_flip_is_a_warning_and_the_next_command_goes_on(wire: Wire) -> None:
    """The change is what was asked for and is in force: whoever repeats it because of an error would do it twice."""
    write = Place.write

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def fail_when_settled(place: Place, state: State) -> None:
        if not state.target:
            fail()
        write(place, state)

    failures: dict[tuple[object, str], Callable[..., None]] = {
        (recovery, "wait_for_packets"): fail,
        (recovery, "carry"): fail,
        (recovery, "remove_tree"): fail,
        (Place, "write"): fail_when_settled,
    }
    with loaded(wire, BOTH) as name:
        for place_in_code, failure in failures.items():
            for value in (1, None):
                set_configs(name, {"limit": 100})
                previous = set_configs(name, {"limit": 50}).generation
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(*place_in_code, failure)
                    change = set_configs(name, {"limit": value}) if value else rollback(name)
                if value or place_in_code[1] != "remove_tree":  # a rollback leaves nothing to remove
                    (warning,) = change.warnings
                    assert warning.startswith("the change is in force, but what it replaced is still there (")
                assert in_force(name) == (value or 100)
                assert change.previous == previous
                change = set_configs(name, {"limit": 33})
                assert change.warnings == ()
                assert in_force(name) == 33
                assert place_of(name).pinned_generations() == tuple(sorted((change.generation, change.previous or 0)))
        found = traces(name)
    assert found.remaining() == []


def test_a_chain_that_cannot_be_taken_off_lets_everything_on_until_it_can(wire: Wire) -> None:
    def fail(*_: object) -> None:
        raise RuntimeProblem("device-busy", "the device is busy")

    with loaded(wire, BOTH) as name:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pcnc_runtime.chain_entries.detach_all", fail)
            change = swap(name, compiled(IN).bundle)
        assert [at.chain for at in change.detached] == ["egress"]
        assert change.warnings == (
            "the change is in force, but what it replaced is still there (the device is busy): the next command tries again",
        )
        assert filters(wire) == (True, False)
        assert {at.chain for at in describe(name).attachments} == {"ingress", "egress"}
        set_configs(name, {"limit": 1})
        assert {at.chain for at in describe(name).attachments} == {"ingress"}
        assert filters(wire) == (True, False)
        found = traces(name)
    assert found.remaining() == []
