"""Commands that die, services that lose pins or records, and several commands at once: the next command always works."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from bench.lab import Namespace
from pcnc_runtime.attach import xdp_attachment
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import (
    AddRule,
    change_rules,
    describe,
    load,
    loaded_names,
    read_settings,
    read_table,
    rollback,
    set_configs,
    statistics,
    unload,
)
from pcnc_runtime.pins import open_map, remove_tree, unlink
from pcnc_runtime.state import locked, place_of
from pcnc_runtime.statistics import Watcher
from tests.live_service import FIREWALL, Wire, chain, compiled, loaded, new_name, prefix, reason, traces, udp
from tests.test_operations_swap import VERSION

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[1]
INTERRUPTED = 130


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


@pytest.fixture
def dice() -> random.Random:
    return random.Random(7)


def killed_after(seconds: float, work: Callable[[], object]) -> None:
    """Does something again and again in a process of its own, which is killed after a while."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                with suppress(RuntimeProblem):
                    work()
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@contextmanager
def traffic(namespace: Namespace, packet: bytes, rate: int) -> Iterator[Callable[[], int]]:
    """Traffic from a process of its own; the function ends it and says how many frames were sent."""
    command = [sys.executable, "-m", "bench.traffic", "--netns", namespace.name, "--device", "eth0"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
    sending = subprocess.Popen(
        [*command, "--packet", packet.hex(), "--rate", str(rate)], stdout=subprocess.PIPE, text=True, env=environment
    )

    def stop() -> int:
        sending.send_signal(signal.SIGINT)
        said = json.loads(sending.communicate(timeout=60)[0])
        assert said["overruns"] == 0
        return int(said["sent"])

    try:
        yield stop
    finally:
        sending.kill()
        sending.wait()
        assert sending.stdout is not None
        sending.stdout.close()


def test_killed_at_any_instant_of_a_swap_nothing_is_lost_and_the_next_command_works(wire: Wire, dice: random.Random) -> None:
    with loaded(wire, VERSION) as name:
        place, before = place_of(name), chain(name).packets
        with traffic(wire.left, udp(), 50_000) as stop:
            while chain(name).packets == before:
                time.sleep(0.02)
            for round in range(40):
                killed_after(dice.uniform(0.001, 0.08), lambda: set_configs(name, {"version": dice.randrange(1, 100)}))
                facts = describe(name)
                assert all(block.program_id for found in facts.chains for block in found.blocks), f"round {round}"
                if round % 4 == 0:
                    change = set_configs(name, {"version": 200})
                    assert [setting.value for setting in read_settings(name)] == [200]
                    assert place.pinned_generations() == tuple(sorted((change.generation, change.previous or 0)))
                if round % 8 == 0:
                    rollback(name)
            sent = stop()
        counted = dict(chain(name).reasons)
        assert counted["next"] == chain(name).packets == before + sent, str(counted)
        found = traces(name)
    assert found.remaining() == []


def test_killed_at_any_instant_of_a_load_or_unload_nothing_remains(wire: Wire, dice: random.Random) -> None:
    name, bundle = new_name(), compiled(FIREWALL).bundle

    def come_and_go() -> None:
        load(bundle, name, ["eth0"])
        unload(name)

    for round in range(25):
        with wire.right.entered():
            killed_after(dice.uniform(0.05, 0.25), come_and_go)
            if round % 2:
                with suppress(RuntimeProblem):
                    load(bundle, name, ["eth0"])
                assert name in loaded_names()
                found = traces(name)
                assert wire.passes(udp())
                unload(name)
                assert found.remaining() == []
            else:
                with suppress(RuntimeProblem):
                    unload(name)
            assert xdp_attachment("eth0") is None, f"round {round}"
        place = place_of(name)
        assert not place.pins.exists()
        assert not place.folder.exists()


def test_interrupted_at_any_instant_it_cleans_up(wire: Wire, dice: random.Random) -> None:
    interrupted = 0
    with loaded(wire, VERSION) as name:
        place = place_of(name)
        for _ in range(40):
            live, version = describe(name).generation, dice.randrange(1, 100)
            if interrupted_after(dice.uniform(0.001, 0.04), partial(set_configs, name, {"version": version})):
                interrupted += 1
                state = place.read()
                assert state is not None
                if describe(name).generation == live and not state.target:
                    assert max(place.pinned_generations()) == max(state.kept), "nothing of what was begun is left"
            else:
                assert [setting.value for setting in read_settings(name)] == [version]
            assert wire.passes(udp())
        set_configs(name, {"version": 200})
        assert [setting.value for setting in read_settings(name)] == [200]
        assert dict(chain(name).reasons)["next"] == chain(name).packets
        found = traces(name)
    assert found.remaining() == []
    assert interrupted > 20


def interrupted_after(seconds: float, work: Callable[[], object]) -> bool:
    """Does something in a process of its own, where Ctrl-C is pressed after a while; whether that came before it was done.

    What an interrupt leaves open, between a system call and the object that owns its descriptor, closes with the process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            status = 0
        except KeyboardInterrupt:
            status = INTERRUPTED
        finally:
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    time.sleep(seconds)
    os.kill(child, signal.SIGINT)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, INTERRUPTED), code
    return code == INTERRUPTED


def test_commands_at_the_same_time_take_turns(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                try:
                    for number in range(6):
                        change_rules(name, [AddRule("sources", prefix(f"10.{child}.{number}.0/24"))])
                finally:
                    os._exit(0)
            children.append(pid)
        with Watcher(name) as watcher:
            ended = 0
            while children:
                seen = watcher.read().chains[0].packets
                assert seen >= ended
                ended = seen
                wire.send(udp())
                children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
        assert sorted(rule.id for rule in read_table(name, "sources").rules) == list(range(1, 19))
        assert describe(name).generation == 19
        assert not wire.passes(udp("10.2.5.1"))


def test_who_waits_too_long_is_told(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name, locked(name):
        began = time.monotonic()
        with pytest.raises(RuntimeProblem) as caught, locked(name, wait=0.2):
            pass
        assert caught.value.name == "busy"
        assert 0.2 <= time.monotonic() - began < 2
        assert statistics(name).name == name, "reading needs no lock"


def test_a_lock_dies_with_its_owner(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with locked(name):
                os.write(writer, b"x")
                time.sleep(60)
        os.read(reader, 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))])


# ---- what others did


def test_without_its_live_generation_packets_are_dropped_and_counted_until_the_next_change(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
        place = place_of(name)
        remove_tree(place.generation(2))
        time.sleep(0.1)  # the kernel empties an array that nobody holds with a little delay
        assert not wire.passes(udp())
        assert describe(name).chains[0].blocks[0].program_id == 0
        change_rules(name, [AddRule("sources", prefix("10.2.0.0/16"))])
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2, 3)] == [False, False, True]


def test_an_entry_that_was_emptied_drops_and_counts_and_is_filled_again(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        with open_map(place_of(name).pins / "entry_ingress") as entry:
            entry.delete(0)
        wire.send(udp(), 3)
        assert reason(name, "drop: no generation") == 3
        change_rules(name, [AddRule("sources", prefix("10.2.0.0/16"))])
        assert wire.passes(udp())
        assert reason(name, "drop: no generation") == 3


def test_without_pins_one_is_told_to_unload_and_can(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        remove_tree(place_of(name).pins)
        with pytest.raises(RuntimeProblem) as caught:
            change_rules(name, [])
        assert (caught.value.name, caught.value.help) == ("pins-lost", f"pcnc restore {name}")
        unload(name)
    with wire.right.entered():
        assert xdp_attachment("eth0") is None
    assert not place_of(name).folder.exists()


@pytest.mark.parametrize("damage", ["removed", "emptied", "garbled"])
def test_without_records_one_is_told_to_unload_and_can(wire: Wire, damage: str) -> None:
    with loaded(wire, FIREWALL) as name, wire.right.entered():
        place, found = place_of(name), traces(name)
        if damage == "removed":
            shutil.rmtree(place.folder)
        else:
            place.state.write_text("" if damage == "emptied" else '{"format":1,"name":3}')
        for command in (
            lambda: change_rules(name, []),
            lambda: load(compiled(FIREWALL).bundle, name, ["eth0"]),
            lambda: describe(name),
        ):
            with pytest.raises(RuntimeProblem) as caught:
                command()
            assert caught.value.name in ("records-lost", "broken-record", "not-loaded")
        assert name not in loaded_names()
        assert [at.state for at in unload(name)] == ["attached"]
        assert xdp_attachment("eth0") is None
    assert found.remaining() == []


def test_a_record_of_a_generation_that_is_gone_is_told(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        place_of(name).record(1).unlink()
        for command in (lambda: change_rules(name, []), lambda: describe(name), lambda: rollback(name)):
            with pytest.raises(RuntimeProblem) as caught:
                command()
            assert caught.value.name in ("broken-record", "no-previous")
        unload(name)


def test_a_map_of_counts_that_is_gone_is_made_anew_and_the_others_go_on(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        wire.send(udp(), 3)
        default = default_packets(name)
        unlink(place_of(name).generation(1) / "verdicts_ingress")
        assert chain(name).packets == 0
        change_rules(name, [AddRule("sources", prefix("10.2.0.0/16"))])
        wire.send(udp(), 3)
        assert chain(name).packets >= 3
        assert default_packets(name) >= default + 3
        change_rules(name, [AddRule("sources", prefix("10.3.0.0/16"))])
        assert default_packets(name) >= default + 3


def default_packets(name: str) -> int:
    table = statistics(name).table("sources")
    assert table is not None
    return table.default.packets


def test_nothing_can_be_done_without_privilege(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        code = (
            "from pcnc_runtime.operations import *; from pcnc_runtime.errors import RuntimeProblem\n"
            f"for do in (lambda: change_rules({name!r}, []), lambda: describe({name!r}), lambda: unload({name!r}),\n"
            f"           lambda: statistics({name!r}), lambda: rollback({name!r}), lambda: set_configs({name!r}, {{}})):\n"
            "    try: do()\n"
            "    except RuntimeProblem as problem: print(problem.name)\n"
        )
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["no-privilege"] * 6, done.stderr
