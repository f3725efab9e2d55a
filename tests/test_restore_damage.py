"""Restores that are killed, and records that the power took: nothing half comes back, and nothing stands in the way of others."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcnc_runtime.attach import Direction, tc_program_id, xdp_attachment
from pcnc_runtime.bundle_store import _read_manifest
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import (
    AddRule,
    change_rules,
    describe,
    describe_saved,
    list_not_loaded,
    load,
    restore,
    save,
    unload,
)
from pcnc_runtime.state import Place, place_of
from tests.command_line import pcnc
from tests.live_service import FIREWALL, Wire, compiled, loaded, new_name, prefix, udp, with_rules
from tests.reboot import failed, only, went_down

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))


def killed_after(seconds: float, name: str) -> bool:
    """Restores in a process of its own, which is killed after a while; whether it was at it still."""
    child = os.fork()
    if child == 0:
        try:
            restore([name])
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_killed_at_any_instant_of_a_restore_the_next_one_completes(wire: Wire, hook: str) -> None:
    dice = random.Random(5)
    killed = 0
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop"), "tc" if hook == "tc" else "xdp") as name:
        change_rules(name, [AddRule("sources", prefix("10.2.0.0/16"))])
        for round in range(8):
            went_down(name)
            began = describe_saved(name)
            assert began is not None
            for _ in range(3):
                if not killed_after(dice.uniform(0.001, 0.03), name):
                    break
                killed += 1
            assert only(restore([name])).outcome in ("restored", "loaded"), f"round {round}"
            facts = describe(name)
            assert facts.generation == began.generation + 1
            assert [at.state for at in facts.attachments] == ["attached"]
            assert len(place_of(name).pinned_generations()) == 2
            assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1 + round % 2, 3)] == [False, True]
        went_down(name)
        while not killed_after(dice.uniform(0.005, 0.03), name):
            went_down(name)
        unload(name)
        with wire.right.entered():
            assert xdp_attachment("eth0") is None
            assert tc_program_id("eth0", Direction.INGRESS) is None
        assert not place_of(name).pins.exists()
        assert not place_of(name).folder.exists()
    assert killed > 6


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut to nothing": lambda content: b"",
    "cut in the middle": lambda content: content[: len(content) // 2],
    "cut before the last byte": lambda content: content[:-1],
    "one bit": lambda content: bytes([*content[:70], content[70] ^ 4, *content[71:]]),
    "zeros, as filesystems leave them": lambda content: bytes(len(content)),
    "another record": lambda content: b'{"sha256":"","record":[]}',
}


def test_whichever_file_the_power_took_that_is_told_and_the_others_come_back(wire: Wire, tmp_path: Path) -> None:
    second = new_name()
    with loaded(wire, FIREWALL) as name:
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
        save([name])
        with wire.left.entered():
            load(compiled(FIREWALL).bundle, second, ["eth0"])
        went_down(name)
        went_down(second)
        place, whole = place_of(name), tmp_path / "whole"
        shutil.copytree(place.folder, whole)
        needed = set(needed_files(place))
        told: dict[str, str] = {}
        for path in sorted(path for path in whole.rglob("*") if path.is_file()):
            relative = path.relative_to(whole)
            for what, damage in DAMAGES.items():
                damaged = place.folder / relative
                damaged.write_bytes(damage(path.read_bytes()))
                if damaged in needed:
                    _read_manifest.cache_clear()
                    assert failed(only(restore([name]))) == "broken-record", f"{relative}: {what}"
                    assert not place.pins.exists()
                    told[str(relative)] = what
                damaged.write_bytes(path.read_bytes())
        assert len(told) >= 8, "state, record, manifest, variant, entry, blocks"
        damaged = place.record(2)
        damaged.write_bytes(b"")
        assert {each.name: each.outcome for each in restore()} == {name: "failed", second: "restored"}
        assert [each.name for each in list_not_loaded()] == [name]
        damaged.write_bytes((whole / "generations" / "2.json").read_bytes())
        for path in place.folder.rglob("*"):
            if path.is_file() and path not in needed:
                path.write_bytes(path.read_bytes()[:-1])
        change = only(restore([name])).change
        assert change is not None
        assert [note.split(":")[0] for note in change.notes] == [
            "it goes on without its source, so other kinds of rules run by wider code",
            "generation 1 was not brought back, there is no rollback to it",
            "counts go on from those of the last change",
        ]
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
        unload(second)


def needed_files(place: Place) -> Iterator[Path]:
    """Without which a service cannot come back."""
    state = place.read()
    assert state is not None
    live = place.read_record(state.kept[0])
    bundle = place.bundles / live.bundle
    yield place.state
    yield place.record(live.number)
    yield bundle / "manifest.json"
    yield from (path for path in bundle.rglob("*") if path.is_file() and "variants" not in path.parts)
    yield from (path for path in (bundle / "variants" / live.variant).rglob("*") if path.is_file())


def test_a_damaged_state_does_not_keep_its_name(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        went_down(name)
        place_of(name).state.write_bytes(b"")
        assert failed(only(restore())) == "broken-record"
        assert unload(name) == ()
        assert restore() == ()
        with pytest.raises(RuntimeProblem) as caught:
            unload(name)
        assert caught.value.name == "not-loaded"


def test_the_command_tells_each_and_goes_on(wire: Wire) -> None:
    second = new_name()
    with loaded(wire, FIREWALL) as name:
        with wire.left.entered():
            load(compiled(FIREWALL).bundle, second, ["eth0"])
        went_down(name)
        went_down(second)
        place_of(name).record(1).write_bytes(b"{")
        shown = pcnc("show").check().is_civil().output
        assert f"{name}  damaged: {place_of(name).record(1)} cannot be read" in shown
        assert f"{second}  service firewall, saved: generation 1, 0 rules; not loaded since the machine was started" in shown
        assert f"eth0 ingress (xdp, native), in network namespace {wire.left.name}" in shown
        assert [each["state"] for each in sorted(pcnc("show", "--json").check().json, key=lambda each: each["name"] != name)] == [
            "damaged",
            "saved",
        ]
        done = pcnc("restore", "--all")
        assert "error[broken-record]" in done.refused("broken-record")
        assert f"{name}: not restored" in done.output
        assert f"{second}: generation 2 is in force" in done.output
        assert pcnc("restore", "--all").status == 1
        pcnc("unload", name).check()
        assert pcnc("restore", "--all").check().output == f"{second}: is loaded already\n"
        pcnc("unload", second).check()
        assert pcnc("restore", "--all").check().output == "there is nothing to restore\n"
        assert pcnc("save", "--all", "--json").check().json == {"saved": []}
    for wrong in (("restore",), ("restore", "fw", "--all"), ("save",), ("restore", "--all", "--wait", "-1")):
        assert pcnc(*wrong).status == 2
