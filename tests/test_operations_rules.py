"""Rules of a running service, live: edits in force at once, all or none; counts that live as long as their rule."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pcnc.cli.compile_service import recompile
from pcnc.shape import Shape
from pcnc_runtime.changes import BuiltVariant, SourceRecord
from pcnc_runtime.errors import RefusedEdits, RuntimeProblem
from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.operations import (
    AddRule,
    DeleteRule,
    Edit,
    FlushTable,
    ReplaceRules,
    change_rules,
    describe,
    read_schemas,
    read_table,
    rollback,
    set_configs,
    statistics,
    unload,
)
from pcnc_runtime.pins import open_map
from pcnc_runtime.state import place_of
from pcnc_runtime.statistics import Watcher
from tests.live_service import FIREWALL, Wire, chain, loaded, ports, prefix, reason, traces, udp, with_rules

pytestmark = pytest.mark.kernel

ACL = """
service acl {
    table acl {
        match   udp.dport: range
        action  drop, next
        default next
        order   first
        size    40
        count   packets
    }
    chain ingress { acl }
    rules acl { 50..59 -> drop }
}
"""
SMALL = FIREWALL.replace("1k", "4")


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def packets(name: str, table: str, id: int | None) -> int:
    """What a rule, or with None the default, has counted."""
    found = statistics(name).table(table)
    assert found is not None
    return found.default.packets if id is None else dict(found.rules)[id].packets


def counters(name: str, table: str) -> KernelMap:
    place = place_of(name)
    state = place.read()
    assert state is not None
    return open_map(place.generation(state.kept[0]) / f"counters_{table}")


def test_a_rule_is_in_force_when_the_call_returns(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        for octet in range(5):
            assert wire.passes(udp(f"10.{octet}.0.1"))
            change = change_rules(name, [AddRule("sources", prefix(f"10.{octet}.0.0/16"))])
            assert change.rules[0].added == (octet + 1,)
            assert change.generation == octet + 2
            assert not wire.passes(udp(f"10.{octet}.0.1"))
        change = change_rules(name, [DeleteRule("sources", id=2), DeleteRule("sources", match=prefix("10.3.0.0/16").matches)])
        assert change.rules[0].removed == (2, 4)
        assert wire.passes(udp("10.1.0.1"))
        assert not wire.passes(udp("10.2.0.1"))
        assert [rule.id for rule in read_table(name, "sources").rules] == [1, 3, 5]


def test_edits_of_several_tables_are_one_generation(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change = change_rules(
            name, [AddRule("sources", prefix("10.0.0.0/8")), AddRule("destinations", prefix("192.0.2.7"))], recompile=recompile
        )
        assert change.generation == 2
        assert [changed.table for changed in change.rules] == ["sources", "destinations"]
        assert not wire.passes(udp("10.0.0.1"))
        assert not wire.passes(udp("11.0.0.1", "192.0.2.7"))
        assert wire.passes(udp("11.0.0.1", "192.0.2.8"))


def test_one_bad_edit_undoes_all(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        before = describe(name)
        with pytest.raises(RuntimeProblem) as caught:
            change_rules(name, [AddRule("sources", prefix("10.0.0.0/8")), DeleteRule("sources", id=9)])
        assert caught.value.name == "no-such-rule"
        with pytest.raises(RuntimeProblem) as caught:
            change_rules(name, [AddRule("sources", prefix("10.0.0.0/8")), AddRule("surces", prefix("10.0.0.0/8"))])
        assert caught.value.name == "no-such-table"
        assert "`sources`, `destinations`" in caught.value.help
        assert wire.passes(udp("10.0.0.1"))
        after = describe(name)
        assert (after.generation, after.tables[0].rules) == (before.generation, ())


def test_all_bad_edits_of_all_tables_are_told_in_their_order(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        edits: list[Edit] = [
            DeleteRule("destinations", id=9),
            AddRule("sources", prefix("10.0.0.0/8")),
            AddRule("surces", prefix("10.0.0.0/8")),
            AddRule("sources", prefix("10.0.0.0/8", "next")),
        ]
        with pytest.raises(RefusedEdits) as caught:
            change_rules(name, edits)
        assert [each.problem.name for each in caught.value.refused] == ["no-such-rule", "no-such-table", "rule-exists"]
        assert [each.edit for each in caught.value.refused] == [edits[0], edits[2], edits[3]]


def test_where_nothing_changes_no_generation_is_made(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))], recompile=recompile)
        same: list[list[Edit]] = [
            [],
            [ReplaceRules("sources", (prefix("10.0.0.0/8"),))],
            [AddRule("destinations", prefix("10.0.0.0/8")), FlushTable("destinations")],
        ]
        for edits in same:
            change = change_rules(name, edits, recompile=recompile)
            assert (change.changed, change.generation, change.previous, change.programs) == (False, 2, 1, 0)
        assert place_of(name).pinned_generations() == (1, 2)
        assert change_rules(name, [AddRule("destinations", prefix("10.0.0.0/8"))]).rules[0].added == (1,)


def test_an_edit_that_changes_nothing_mends_what_is_not_in_order(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        same: list[Edit] = [AddRule("sources", prefix("10.0.0.0/8")), FlushTable("sources")]
        with open_map(place_of(name).pins / "entry_ingress") as entry:
            entry.delete(0)
        assert change_rules(name, same).changed
        assert wire.passes(udp())
        change_rules(name, [AddRule("sources", prefix("11.0.0.0/8"))], recompile=no_clang)
        assert not change_rules(name, [], recompile=None).changed
        assert change_rules(name, [], recompile=recompile).compiled, "better code can be had"


def test_a_dry_run_says_what_would_be_and_does_nothing(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        edits = [AddRule("sources", prefix("10.0.0.0/8"))]
        said = change_rules(name, edits, recompile=recompile, dry_run=True)
        assert (said.dry_run, said.compiled, said.generation) == (True, True, 2)
        assert said.rules[0].added == (1,)
        said = change_rules(name, edits, dry_run=True)
        assert (said.compiled, said.exact, said.variant) == (False, False, "general")
        assert wire.passes(udp("10.0.0.1"))
        assert describe(name).generation == 1
        assert place_of(name).pinned_generations() == (1,)


def test_code_follows_the_shape_of_the_rules(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        assert describe(name).chains[0].plan.parses == ()
        change = change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))], recompile=recompile)
        assert (change.compiled, change.exact) == (True, True)
        facts = describe(name)
        assert facts.chains[0].plan.parses == ("ipv4.src",)
        assert facts.tables[0].plan is not None
        assert facts.tables[1].plan is None
        again = change_rules(name, [AddRule("sources", prefix("11.0.0.0/8"))], recompile=recompile)
        assert (again.compiled, again.exact, again.variant) == (False, True, change.variant)
        change_rules(name, [DeleteRule("sources", id=1), DeleteRule("sources", id=2)])
        assert describe(name).chains[0].plan.parses == ()
        back = change_rules(name, [AddRule("sources", prefix("12.0.0.0/8"))])
        assert (back.compiled, back.exact, back.variant) == (False, True, change.variant), "what was compiled is kept"


def no_clang(_source: SourceRecord, _shape: Shape) -> BuiltVariant:
    raise RuntimeProblem("no-clang", "there is no clang on the PATH")


def test_without_a_compiler_the_wider_variant_does(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change = change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))], recompile=no_clang)
        assert (change.compiled, change.exact, change.variant) == (False, False, "general")
        assert "no clang" in change.notes[0]
        assert not wire.passes(udp("10.0.0.1"))
        assert wire.passes(udp("11.0.0.1"))
        assert not describe(name).exact


def test_a_compiler_that_fails_leaves_everything_as_it_was(wire: Wire) -> None:
    def fails(_source: SourceRecord, _shape: Shape) -> BuiltVariant:
        raise RuntimeProblem("clang-refused", "clang refuses")

    with loaded(wire, FIREWALL) as name:
        with pytest.raises(RuntimeProblem) as caught:
            change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))], recompile=fails)
        assert caught.value.name == "clang-refused"
        assert wire.passes(udp("10.0.0.1"))
        assert describe(name).generation == 1


def test_order_decides_and_operators_come_first(wire: Wire) -> None:
    with loaded(wire, ACL) as name:
        assert not wire.passes(udp(dport=55))
        change = change_rules(name, [AddRule("acl", ports(55, 55, "next"))])
        assert change.warnings == ()
        assert wire.passes(udp(dport=55))
        assert not wire.passes(udp(dport=56))
        change_rules(name, [DeleteRule("acl", id=2)])
        change = change_rules(name, [AddRule("acl", ports(55, 55, "next"), last=True)])
        assert not wire.passes(udp(dport=55))
        (warning,) = change.warnings
        assert "rule 3 of `acl` (`55 -> next`) can never match: rule 1" in warning
        assert [(rule.id, rule.position, rule.origin) for rule in read_table(name, "acl").rules] == [
            (1, 1, "file"),
            (3, 2, "operator"),
        ]


def test_replacing_leaves_the_files_rules(wire: Wire) -> None:
    with loaded(wire, ACL) as name:
        change_rules(name, [AddRule("acl", ports(1, 1)), AddRule("acl", ports(2, 2))])
        change = change_rules(name, [ReplaceRules("acl", (ports(2, 2), ports(3, 3)))])
        assert (change.rules[0].added, change.rules[0].removed) == ((4,), (2,))
        assert [wire.passes(udp(dport=port)) for port in (1, 2, 3, 50)] == [True, False, False, False]


def test_a_full_list_and_an_empty_one(wire: Wire) -> None:
    with loaded(wire, ACL) as name:
        change_rules(name, [AddRule("acl", ports(port, port)) for port in range(100, 139)])
        assert not wire.passes(udp(dport=138))
        assert not wire.passes(udp(dport=59)), "the last of forty rules"
        assert wire.passes(udp(dport=139))
        with pytest.raises(RuntimeProblem) as caught:
            change_rules(name, [AddRule("acl", ports(139, 139))])
        assert caught.value.name == "table-full"
        change_rules(name, [ReplaceRules("acl", ()), DeleteRule("acl", id=1)])
        assert wire.passes(udp(dport=59))


def test_a_rule_that_file_and_operator_have_is_one(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.0.0.0/8 -> drop")) as name:
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))])
        assert [(rule.id, rule.origin) for rule in read_table(name, "sources").rules] == [(1, "both")]
        change = change_rules(name, [DeleteRule("sources", id=1)])
        assert "the file has it, too" in change.notes[0]
        assert not wire.passes(udp("10.0.0.1"))
        change = change_rules(name, [DeleteRule("sources", id=1)])
        assert "a swap brings it back" in change.notes[0]
        assert wire.passes(udp("10.0.0.1"))


def test_schemas_can_be_asked_for(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        assert [schema.name for schema in read_schemas(name)] == ["sources", "destinations"]


# ---- counts


def test_a_count_lives_as_long_as_its_rule(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))])
        wire.send(udp("10.0.0.1"), 5)
        wire.send(udp("11.0.0.1"), 3)
        assert packets(name, "sources", 1) == 5
        default = packets(name, "sources", None)
        assert default >= 3
        change_rules(name, [AddRule("sources", prefix("11.0.0.0/8"))])
        change_rules(name, [ReplaceRules("sources", (prefix("10.0.0.0/8", "next"),))])
        wire.send(udp("10.0.0.1"), 2)
        assert packets(name, "sources", 1) == 7, "another action, the same rule"
        assert packets(name, "sources", None) >= default
        change_rules(name, [DeleteRule("sources", id=1)])
        change_rules(name, [AddRule("sources", prefix("10.0.0.0/8"))])
        assert packets(name, "sources", 3) == 0, "a new rule"


def test_the_default_counts_also_where_nothing_is_looked_up(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        before = packets(name, "sources", None)
        wire.send(udp(), 4)
        assert packets(name, "sources", None) == before + 4
        change_rules(name, [AddRule("sources", prefix("10.9.0.0/16"))])
        wire.send(udp(), 4)
        change_rules(name, [DeleteRule("sources", id=1)])
        wire.send(udp(), 4)
        assert packets(name, "sources", None) == before + 12


def test_a_slot_goes_to_another_rule_only_when_nobody_kept_knows_it_and_then_counts_from_zero(wire: Wire) -> None:
    with loaded(wire, SMALL) as name:
        with counters(name, "sources") as made:
            first = made.facts.id
        for round in range(1, 8):
            address = f"10.{round}.0.0/16"
            change_rules(name, [ReplaceRules("sources", (prefix(address),))])
            assert packets(name, "sources", round) == 0
            wire.send(udp(f"10.{round}.0.1"), round)
            assert packets(name, "sources", round) == round
        with counters(name, "sources") as made:
            assert made.facts.id == first, "four slots are enough for one rule and what it was before"


def test_when_no_slot_is_free_counts_go_on_in_a_new_map(wire: Wire) -> None:
    with loaded(wire, SMALL) as name:
        change_rules(name, [AddRule("sources", prefix(f"10.{number}.0.0/16", "next")) for number in range(4)])
        for number in range(4):
            wire.send(udp(f"10.{number}.0.1"), number + 1)
        default = packets(name, "sources", None)
        with counters(name, "sources") as made:
            first = made.facts.id
        kept = prefix("10.3.0.0/16", "next")
        change_rules(name, [ReplaceRules("sources", (kept, *(prefix(f"11.{number}.0.0/16") for number in range(3))))])
        with counters(name, "sources") as made:
            assert made.facts.id != first
        assert packets(name, "sources", 4) == 4
        assert packets(name, "sources", None) == default
        wire.send(udp("10.3.0.1"), 2)
        rollback(name)
        wire.send(udp("10.3.0.1"), 2)
        assert packets(name, "sources", 4) == 8, "both maps count"
        rollback(name)
        change_rules(name, [DeleteRule("sources", id=5)])
        change_rules(name, [DeleteRule("sources", id=6)])
        wire.send(udp("10.3.0.1"), 2)
        assert packets(name, "sources", 4) == 10, "the old map is gone, its counts are not"
        assert packets(name, "sources", None) >= default


def test_a_watcher_follows_the_service_and_totals_never_go_down(wire: Wire) -> None:
    with loaded(wire, SMALL) as name, Watcher(name) as watcher:
        ended, default = 0, 0
        for round in range(12):
            change_rules(name, [ReplaceRules("sources", (prefix(f"10.{round}.0.0/16"),))], recompile=recompile)
            wire.send(udp(f"10.{round}.0.1"), 3)
            wire.send(udp("11.0.0.1"), 2)
            seen = watcher.read()
            table = seen.table("sources")
            assert table is not None
            assert seen.generation == round + 2
            assert [count.packets for _, count in table.rules] == [3]
            assert seen.chains[0].packets >= ended + 5
            assert table.default.packets >= default + 2
            ended, default = seen.chains[0].packets, table.default.packets
        assert reason(name, "drop: rule sources") == 36
        unload(name)
        with pytest.raises(RuntimeProblem) as caught:
            watcher.read()
        assert caught.value.name == "not-loaded"


def test_a_thousand_rules_are_in_force_at_once(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        rules = [prefix(f"10.{number >> 8}.{number & 255}.0/24") for number in range(1000)]
        began = time.process_time()
        change_rules(name, [AddRule("sources", rule) for rule in rules])
        assert time.process_time() - began < 1
        assert not wire.passes(udp("10.3.231.1"))
        assert wire.passes(udp("10.3.232.1"))
        began = time.process_time()
        change_rules(name, [DeleteRule("sources", id=1000)])
        assert time.process_time() - began < 0.2
        assert wire.passes(udp("10.3.231.1"))
        found = traces(name)
    assert found.remaining() == []


def test_settings_and_rules_go_together(wire: Wire) -> None:
    text = ACL.replace(
        "chain ingress { acl }", "config port: u16 = 1\nchain ingress { acl; stage s { if udp { if udp.dport == port { drop } } } }"
    )
    with loaded(wire, text) as name:
        set_configs(name, {"port": 2})
        change_rules(name, [AddRule("acl", ports(3, 3))])
        assert [wire.passes(udp(dport=port)) for port in (1, 2, 3, 4)] == [True, False, False, True]
        rollback(name)
        assert [wire.passes(udp(dport=port)) for port in (1, 2, 3, 4)] == [True, False, True, True]
        assert chain(name).packets > 0
