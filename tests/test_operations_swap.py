"""Swaps and rollbacks, live: the operator's rules stay, a packet meets one version, and none is lost on the way."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from bench.traffic import Generator, Kind, Sink
from pcnc.cli.compile_service import recompile
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import (
    AddRule,
    change_rules,
    describe,
    read_settings,
    read_table,
    rollback,
    set_configs,
    statistics,
    swap,
)
from pcnc_runtime.state import place_of
from tests.live_service import (
    FIREWALL,
    Wire,
    assert_each_counted_once,
    chain,
    compiled,
    loaded,
    open_files,
    prefix,
    reason,
    traces,
    udp,
    with_rules,
)

pytestmark = pytest.mark.kernel

VERSION = """
service version {
    config version: u8 = 0
    meta seen: u8
    chain ingress {
        stage first  { seen = version }
        stage second { if ipv4 and ipv4.ttl == 0 { pass } }
        stage third  { if seen != version { drop } }
    }
}
"""
"""Whoever meets blocks of two generations is dropped by the third stage."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def swap_to(name: str, text: str, *, discard: Collection[str] = ()) -> None:
    made = compiled(text)
    swap(name, made.bundle, source=made.source, recompile=recompile, discard=discard)


def test_the_files_rules_change_and_the_operators_stay(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop", "10.2.0.0/16 -> drop")) as name:
        change_rules(name, [AddRule("sources", prefix("10.3.0.0/16"))])
        wire.send(udp("10.2.0.1"), 4)
        swap_to(name, with_rules(FIREWALL, "sources", "10.2.0.0/16 -> drop", "10.4.0.0/16 -> drop"))
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in range(1, 6)] == [True, False, False, False, True]
        rules = read_table(name, "sources").rules
        assert [(rule.id, rule.origin) for rule in rules] == [(2, "file"), (3, "operator"), (4, "file")]
        assert rules[0].count is not None
        assert rules[0].count.packets >= 4, "the same rule, with its count"


def test_rules_that_do_not_fit_are_named_and_nothing_happens(wire: Wire) -> None:
    narrow = FIREWALL.replace("action  drop, next", "action  next", 1)
    with loaded(wire, FIREWALL) as name:
        change_rules(name, [AddRule("sources", prefix("10.3.0.0/16")), AddRule("destinations", prefix("192.0.2.9"))])
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, narrow)
        assert caught.value.name == "rules-do-not-fit"
        assert "rule 1 of `sources` (`10.3.0.0/16 -> drop`): the table has no action `drop` any more" in caught.value.message
        assert not wire.passes(udp("10.3.0.1"))
        swap_to(name, narrow, discard=["sources"])
        assert wire.passes(udp("10.3.0.1"))
        assert not wire.passes(udp(destination="192.0.2.9")), "the other table's rule stays"


def test_at_another_hook_it_is_another_service(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        with pytest.raises(RuntimeProblem) as caught:
            swap(name, compiled(FIREWALL, "tc").bundle)
        assert caught.value.name == "other-hook"


def test_what_a_load_would_warn_of_a_swap_warns_of(wire: Wire) -> None:
    rewriting = FIREWALL.replace("sources; destinations", "sources; destinations; stage s { if udp { udp.dport = 9 } }")
    with loaded(wire, FIREWALL) as name:
        (warning,) = swap(name, compiled(rewriting).bundle).warnings
        assert "unfinished checksums, and XDP rewrites" in warning
        assert swap(name, compiled(rewriting.replace("= 9", "= 8")).bundle).warnings == (), "it was told"


def test_settings_live_on_where_they_fit(wire: Wire) -> None:
    def stage(*settings: str) -> str:
        return FIREWALL.replace("chain", "\n".join(f"config {setting}" for setting in settings) + "\nchain", 1)

    with loaded(wire, stage("a: u8 = 1", "b: u8 = 1", "c: u8 = 1")) as name:
        set_configs(name, {"a": 2, "b": 2})
        made = compiled(stage("a: u8 = 3", "b: u16 = 3", "c: u8 = 3"))
        swap(name, made.bundle)
        assert {setting.plan.name: setting.value for setting in read_settings(name)} == {"a": 2, "b": 2, "c": 3}


def test_a_rollback_brings_everything_back_and_another_one_undoes_it(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        with pytest.raises(RuntimeProblem) as caught:
            rollback(name)
        assert caught.value.name == "no-previous"
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
        swap_to(name, with_rules(FIREWALL, "sources", "10.2.0.0/16 -> drop"))
        for _ in range(2):
            assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, False]
            change = rollback(name)
            assert (change.generation, change.previous) == (2, 3)
            assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
            assert describe(name).previous == 3
            assert rollback(name).generation == 3
        rollback(name)
        change = change_rules(name, [AddRule("sources", prefix("10.3.0.0/16"))])
        assert (change.generation, change.previous) == (4, 2), "a number is given once"
        assert change.rules[0].added == (3,), "and so is an id"
        assert place_of(name).pinned_generations() == (2, 4)


def test_what_no_generation_needs_any_more_is_removed(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        place = place_of(name)
        for octet in range(4):
            swap_to(name, with_rules(FIREWALL, "sources", f"10.{octet}.0.0/16 -> drop"))
        assert place.pinned_generations() == (4, 5)
        assert sorted(path.name for path in place.record(0).parent.iterdir()) == ["4.json", "5.json"]
        assert len(list(place.bundles.iterdir())) == len(list(place.sources.iterdir())) == 2


def test_totals_live_on_when_reasons_and_sizes_change(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop")) as name:
        wire.send(udp("10.1.0.1"), 3)
        wire.send(udp("10.2.0.1"), 2)
        ended = chain(name).packets
        wider = with_rules(FIREWALL.replace("1k", "2k"), "sources", "10.1.0.0/16 -> drop")
        more = wider.replace("sources; destinations", "sources; destinations; stage last { if udp { if udp.dport == 1 { drop } } }")
        for text in (wider, more):
            swap_to(name, text)
            wire.send(udp("10.1.0.1"), 1)
            assert chain(name).packets >= ended + 1
            ended = chain(name).packets
        counted = statistics(name).table("sources")
        assert counted is not None
        assert dict(counted.rules)[1].packets == 5 == reason(name, "drop: rule sources")
        assert reason(name, "drop: stage last") == 0


def test_a_version_that_the_kernel_refuses_leaves_the_old_one(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop")) as name:
        bundle = compiled(with_rules(FIREWALL, "sources", "10.2.0.0/16 -> drop")).bundle
        path = next(path for path in bundle.files if path.startswith("as_written") and path.endswith("_sources.bpf.o"))
        before, state = open_files(), place_of(name).read()
        for content in (b"", b"\x7fELF" + bytes(99), bundle.files["entry_ingress.bpf.o"]):
            with pytest.raises(RuntimeProblem):
                swap(
                    name,
                    replace(
                        bundle, files={**bundle.files, path: content}, manifest=replace(bundle.manifest, pcnc=str(len(content)))
                    ),
                )
            assert place_of(name).read() == state
            assert place_of(name).pinned_generations() == (1,)
            assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
        assert open_files() == before
        swap(name, bundle)
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [True, False]


@pytest.mark.parametrize("flips", [150])
def test_under_traffic_every_packet_meets_one_version_and_none_is_lost(wire: Wire, flips: int) -> None:
    with loaded(wire, VERSION) as name, Sink(wire.right, "eth0", Kind.TC) as behind:
        before = chain(name).packets
        with Generator(wire.left, "eth0", udp(), rate=100_000) as generator:
            while generator.sent < 1000:
                time.sleep(0.01)
            for flip in range(flips):
                set_configs(name, {"version": flip % 200 + 1})
            sent = generator.stop()
        arrived = behind.wait_for(sent - generator.overruns)
        assert generator.overruns == 0
        assert arrived == sent
        counted = dict(chain(name).reasons)
        assert counted["next"] == chain(name).packets == before + sent, f"after {flips} flips: {counted}"
        found = traces(name)
    assert found.remaining() == []


def test_under_traffic_rules_come_and_go_and_every_packet_is_accounted_for(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name, Sink(wire.right, "eth0", Kind.TC) as behind:
        before = chain(name).packets
        with Generator(wire.left, "eth0", udp("10.0.0.1"), udp("11.0.0.1"), rate=100_000) as generator:
            for round in range(20):
                change_rules(name, [AddRule("sources", prefix(f"10.0.0.{round}"))], recompile=recompile)
                swap_to(name, with_rules(FIREWALL, "sources", f"12.{round}.0.0/16 -> drop"))
                rollback(name)
                rollback(name)
            sent = generator.stop()
        assert generator.overruns == 0
        assert_each_counted_once(name, "sources", behind, before, sent)
