"""The history of a running service: an entry for each generation that came into force, and for no other, whoever was killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from pcnc.cli.compile_service import recompile
from pcnc_runtime import advance, recovery
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.history import KEPT
from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.operations import (
    AddRule,
    DeleteRule,
    Edit,
    ReplaceRules,
    change_rules,
    describe,
    history,
    read_settings,
    read_table,
    rollback,
    set_configs,
    statistics,
    swap,
    unload,
)
from pcnc_runtime.state import place_of
from tests.live_service import FIREWALL, Wire, compiled, loaded, ports, prefix, udp, with_rules
from tests.test_operations_rules import ACL
from tests.test_operations_swap import VERSION

pytestmark = pytest.mark.kernel

LIMITED = FIREWALL.replace("chain", "config limit: u8 = 10\nchain", 1)
UNCOUNTED = "".join(line for line in LIMITED.splitlines(keepends=True) if "count" not in line)
"""A table that counts has a block without rules, too."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def told(name: str) -> list[tuple[int, str, str]]:
    return [(entry.generation, entry.what, entry.mark) for entry in history(name)]


def test_each_change_is_told_with_what_it_changed(wire: Wire) -> None:
    with loaded(wire, with_rules(UNCOUNTED, "sources", "10.9.0.0/16 -> drop"), settings={"limit": 11}) as name:
        change_rules(name, [AddRule("destinations", prefix(f"10.{octet}.0.0/16")) for octet in range(5)], recompile=recompile)
        change_rules(name, [ReplaceRules("destinations", (prefix("10.0.0.0/16", "next"),))])
        set_configs(name, {"limit": 12})
        made = compiled(with_rules(UNCOUNTED.replace("u8 = 10", "u16 = 7"), "sources", "10.8.0.0/16 -> drop"))
        swap(name, made.bundle, source=made.source)
        rollback(name)
        first, added, replaced, settings, swapped, back = history(name)
        assert told(name) == [
            (1, "load", ""),
            (2, "rules", ""),
            (3, "rules", ""),
            (4, "settings", ""),
            (5, "swap", "previous"),
            (4, "rollback", "live"),
        ]
        assert [(table.table, table.added.first) for table in first.tables] == [("sources", ("10.9.0.0/16 -> drop",))]
        assert (first.source, len(first.source_hash), first.source_changed) == ("service.pcn", 64, False)
        (table,) = added.tables
        texts = ("10.0.0.0/16 -> drop", "10.1.0.0/16 -> drop", "10.2.0.0/16 -> drop")
        assert (table.table, table.added.count, table.added.first) == ("destinations", 5, texts)
        assert (added.compiled, added.blocks_added, added.blocks, added.previous) == (True, ("destinations",), first.blocks + 1, 1)
        (table,) = replaced.tables
        assert (table.removed.count, table.changed.first) == (4, ("10.0.0.0/16 -> next",))
        assert [(each.name, each.before, each.after) for each in settings.settings] == [("limit", "11", "12")]
        assert (swapped.source_changed, swapped.source_hash != first.source_hash) == (True, True)
        (table,) = swapped.tables
        assert (table.added.first, table.removed.first) == (("10.8.0.0/16 -> drop",), ("10.9.0.0/16 -> drop",))
        assert back.tables[0].added.first == ("10.9.0.0/16 -> drop",)
        assert (back.source_hash, back.source_changed, back.previous) == (first.source_hash, True, 5)
        assert back.when > swapped.when
        assert describe(name).since == back.when
    with pytest.raises(RuntimeProblem) as caught:
        history(name)
    assert caught.value.name == "not-loaded"
    assert not place_of(name).history.exists()


def test_what_did_not_come_into_force_is_not_told(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        refused: list[Callable[[], object]] = [
            lambda: change_rules(name, [DeleteRule("sources", id=9)]),
            lambda: set_configs(name, {"none": 1}),
            lambda: rollback(name),
        ]
        for ask in refused:
            with pytest.raises(RuntimeProblem):
                ask()
        change_rules(name, [])
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))], dry_run=True)
        assert told(name) == [(1, "load", "live")]


def test_a_table_that_is_gone_is_told(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.9.0.0/16 -> drop")) as name:
        swap(name, compiled(FIREWALL.replace("sources", "origins")).bundle)
        (gone,) = history(name)[-1].tables
        assert (gone.table, gone.removed.first) == ("sources", ("10.9.0.0/16 -> drop",))


# ---- commands that die


def killed_at(module: object, function: str, *, before: bool, work: Callable[[], object]) -> None:
    """Does something in a process of its own, which is killed right before or right behind a function of the runtime."""
    child = os.fork()
    if child == 0:
        try:
            real = getattr(module, function)

            def dies(*arguments: object, **options: object) -> None:
                if not before:
                    real(*arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(module, function, dies)
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("module", "function", "before", "in_force"),
    [
        (advance, "build_generation", False, False),
        (advance, "put_into_force", True, False),
        (advance, "put_into_force", False, True),
        (recovery, "add_entry", True, True),
        (recovery, "add_entry", False, True),
        (recovery, "carry", True, True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_killed_on_the_way_it_is_told_if_it_came_into_force(
    wire: Wire, module: object, function: str, before: bool, in_force: bool
) -> None:
    with loaded(wire, VERSION) as name:
        set_configs(name, {"version": 1})
        killed_at(module, function, before=before, work=lambda: set_configs(name, {"version": 2}))
        so_far = [(1, "load", ""), (2, "settings", "previous" if in_force else "live")]
        expected = [*so_far, (3, "settings", "live")] if in_force else [(1, "load", "previous"), so_far[1]]
        assert told(name) == expected, "before any other command has looked"
        change_rules(name, [])
        assert told(name) == expected, "and after"
        if function != "build_generation":
            killed_at(module, function, before=before, work=lambda: rollback(name))
            last = history(name)[-1]
            assert last.what == ("rollback" if in_force else "settings")
            if in_force:
                assert [(each.before, each.after) for each in last.settings] == [("2", "1")], "nobody was told, and it is known"
            change_rules(name, [])
            assert history(name)[-1] == last
        set_configs(name, {"version": 9})
        assert history(name)[-1].settings[0].before == "1", "the second one was undone, or never came"
        numbers = [entry.number for entry in history(name)]
        assert numbers == list(range(1, len(numbers) + 1))


def killed_during(done: int, work: Callable[[], object], share: float) -> None:
    """Does something again and again in a process of its own, which is killed within the next one after some are done."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            while True:
                with suppress(RuntimeProblem):
                    work()
                os.write(writer, b"x")
        finally:
            os._exit(1)
    os.close(writer)
    began = took = time.monotonic()
    for _ in range(done):
        os.read(reader, 1)
        began, took = time.monotonic(), time.monotonic() - began
    time.sleep(share * took)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)


def test_killed_at_any_instant_the_history_is_that_of_what_was_in_force(wire: Wire) -> None:
    dice = random.Random()
    with loaded(wire, VERSION) as name:

        def change() -> None:
            if dice.random() < 0.2:
                rollback(name)
            else:
                set_configs(name, {"version": dice.randrange(1, 250)})

        for round in range(15):
            dice.seed(round)
            killed_during(2, change, dice.random())
        entries = history(name)
        assert len(entries) > 15
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        # Each says what was before: none is missing, none is too many.
        now = "0"
        for earlier, entry in pairwise(entries):
            assert entry.previous == earlier.generation
            assert entry.when >= earlier.when
            for setting in entry.settings:
                assert setting.before == now
                now = setting.after
        assert [setting.text for setting in read_settings(name)] == [now]
        assert entries[-1].generation == describe(name).generation
        assert entries[-1].mark == "live"


def test_more_entries_than_are_kept(wire: Wire) -> None:
    with loaded(wire, VERSION) as name:
        first = place_of(name).history.read_bytes()
        set_configs(name, {"version": 1})
        line = place_of(name).history.read_bytes().splitlines()[-1]
        filled = first + b"".join(line.replace(b'"number":2', b'"number":%d' % number) + b"\n" for number in range(2, 1249))
        place_of(name).history.write_bytes(filled)
        for version in (2, 3, 4):
            set_configs(name, {"version": version})
        entries = history(name)
        assert (len(entries), entries[-1].number) == (KEPT, 1251)
        assert place_of(name).history.read_bytes().count(b"\n") == KEPT + 1


# ---- going back


def test_a_rollback_loads_nothing_and_brings_back_the_very_same_programs_maps_and_counts(wire: Wire) -> None:
    with loaded(wire, LIMITED) as name:
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))], recompile=recompile)
        wire.send(udp("10.1.0.1"), 4)
        steps: list[Callable[[], object]] = [
            lambda: change_rules(name, [DeleteRule("sources", match=prefix("10.1.0.0/16").matches)], recompile=recompile),
            lambda: change_rules(name, [AddRule("destinations", prefix("10.9.0.0/16")), AddRule("sources", prefix("10.2.0.0/16"))]),
            lambda: set_configs(name, {"limit": 99}),
            lambda: swap(name, compiled(with_rules(LIMITED, "destinations", "10.3.0.0/16 -> drop")).bundle),
            lambda: swap(name, compiled(FIREWALL.replace("destinations", "targets")).bundle),
        ]
        for step in steps:
            before, counted = describe(name), counts(name)
            step()
            assert describe(name).chains != before.chains
            change = rollback(name)
            assert (change.compiled, change.programs, change.generation) == (False, 0, before.generation)
            after = describe(name)
            assert after.chains == before.chains, "the programs, by their ids"
            assert [table.rules for table in after.tables] == [table.rules for table in before.tables]
            assert after.settings == before.settings
            assert counts(name) == counted
            assert not wire.passes(udp("10.1.0.1"))
            assert counts(name) != counted
            assert rollback(name).previous == before.generation
            assert rollback(name).generation == before.generation


def test_a_rollback_is_one_write_of_the_entry(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for done in ("set_slot", "update_batch"):
        real = getattr(KernelMap, done)

        def counted(self: KernelMap, *arguments: object, real: Callable[..., None] = real, done: str = done) -> None:
            written.append(f"{done} {self.facts.name}")
            real(self, *arguments)

        monkeypatch.setattr(KernelMap, done, counted)
    with loaded(wire, LIMITED) as name:
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))], recompile=recompile)
        assert len(written) > 1
        written.clear()
        rollback(name)
        assert written == ["set_slot entry"]
        rollback(name)
        assert written == ["set_slot entry"] * 2


def test_a_rollback_brings_back_the_order(wire: Wire) -> None:
    with loaded(wire, ACL) as name:
        change_rules(name, [AddRule("acl", ports(port, port)) for port in (1, 2, 3)])
        before = read_table(name, "acl").rules
        moved: list[Edit] = [DeleteRule("acl", id=3), AddRule("acl", ports(9, 9), at=2), AddRule("acl", ports(2, 2), last=True)]
        change_rules(name, moved)
        after = read_table(name, "acl").rules
        assert [rule.id for rule in after] != [rule.id for rule in before]
        for wanted in (before, after, before):
            change = rollback(name)
            assert read_table(name, "acl").rules == wanted
            assert change.rules[0].added


def counts(name: str) -> dict[int, int]:
    """What the rules of `sources` have counted."""
    table = statistics(name).table("sources")
    assert table is not None
    assert [rule.id for rule in read_table(name, "sources").rules] == [id for id, _ in table.rules]
    return {id: count.packets for id, count in table.rules}


def test_a_rollback_says_what_comes_back(wire: Wire) -> None:
    with loaded(wire, LIMITED) as name:
        set_configs(name, {"limit": 20})
        change = set_configs(name, {"limit": 30})
        assert [(each.name, each.before, each.after) for each in change.settings] == [("limit", "20", "30")]
        change = rollback(name)
        assert [(each.name, each.before, each.after) for each in change.settings] == [("limit", "30", "20")]
        unload(name)
