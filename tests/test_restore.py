"""Services that a reboot took: how they come back, and what is put back that somebody took off."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.lab import Lab
from pcnc_runtime.attach import attach_xdp, xdp_attachment
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import (
    AddRule,
    change_rules,
    describe,
    describe_saved,
    list_not_loaded,
    load,
    loaded_names,
    read_settings,
    read_table,
    restore,
    rollback,
    save,
    set_configs,
    statistics,
    swap,
    unload,
)
from pcnc_runtime.pins import remove_tree
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType
from pcnc_runtime.record_files import read_json, write_json
from pcnc_runtime.state import place_of
from tests.live_service import FIREWALL, Wire, chain, compiled, loaded, new_name, prefix, traces, udp, with_rules
from tests.reboot import failed, only, went_down
from tests.test_operations_swap import VERSION

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))


# ---- what comes back


def test_rules_settings_counts_and_the_generation_before_come_back(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.9.0.0/16 -> drop")) as name:
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16")), AddRule("destinations", prefix("192.0.2.9"))])
        change_rules(name, [AddRule("sources", prefix("10.2.0.0/16"))])
        wire.send(udp("10.1.0.1"), 3)
        before, generation = read_table(name, "sources"), describe(name).generation
        save([name])
        wire.send(udp("10.1.0.1"), 2)
        went_down(name)
        assert wire.passes(udp("10.1.0.1")), "there is nothing on the device"
        change = only(restore()).change
        assert change is not None
        assert (change.generation, change.previous, change.compiled) == (generation + 1, generation, False)
        after = read_table(name, "sources")
        assert [(rule.id, rule.origin, rule.text) for rule in after.rules] == [(r.id, r.origin, r.text) for r in before.rules]
        assert after.rules[1].count == before.rules[1].count, "counted until it was saved"
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2, 3, 9)] == [False, False, True, False]
        assert not wire.passes(udp("10.3.0.1", "192.0.2.9"))
        rollback(name)
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2, 3, 9)] == [False, True, True, False]
        rollback(name)
        change_rules(name, [AddRule("sources", prefix("10.3.0.0/16"))])
        assert [rule.id for rule in read_table(name, "sources").rules] == [*(rule.id for rule in after.rules), 4]
        assert not wire.passes(udp("10.3.0.1"))
        found = traces(name)
    assert found.remaining() == []


def test_counts_go_on_from_the_larger_of_what_a_change_and_a_save_wrote(wire: Wire) -> None:
    with loaded(wire, VERSION) as name:
        wire.send(udp(), 5)
        save([name])
        saved = chain(name).packets
        for _ in range(2):
            went_down(name)
            restore([name])
            assert chain(name).packets == saved
            assert sum(count for _, count in chain(name).reasons) == saved
        wire.send(udp(), 4)
        assert chain(name).packets == saved + 4


def test_restored_again_and_again_settings_stay(wire: Wire) -> None:
    with loaded(wire, VERSION) as name:
        set_configs(name, {"version": 77})
        for generation in (3, 4, 5):
            went_down(name)
            restore([name])
            facts = describe(name)
            assert (facts.generation, facts.what, facts.previous) == (generation, "restore", 1)
            assert [setting.value for setting in read_settings(name)] == [77]
        assert len(list(place_of(name).record(0).parent.iterdir())) == 2


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_xdp_runs_in_the_mode_that_it_had(wire: Wire, mode: str) -> None:
    from pcnc_runtime.attach import XdpMode

    with loaded(wire, FIREWALL, mode=XdpMode(mode)) as name:
        went_down(name)
        restore([name])
        assert [at.mode for at in describe(name).attachments] == [mode]
        with wire.right.entered():
            found = xdp_attachment("eth0")
        assert found is not None
        assert found.mode == mode


def test_where_a_driver_has_no_native_xdp_any_more_it_runs_in_generic_mode(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        assert [at.mode for at in describe(name).attachments] == ["native"]
        went_down(name)
        wire.right.run("ip", "link", "del", "eth0")
        wire.right.run("ip", "link", "add", "eth0", "type", "bridge")
        change = only(restore([name])).change
        assert change is not None
        assert change.warnings == ("`eth0` has no native XDP any more; it runs in generic mode, which is slower",)
        assert [(at.mode, at.state) for at in describe(name).attachments] == [("generic", "attached")]


BOTH = FIREWALL.replace("chain ingress { sources; destinations }", "chain ingress { sources }\n    chain egress { destinations }")


@pytest.mark.parametrize(("first", "second"), [(FIREWALL, BOTH), (BOTH, FIREWALL)])
def test_a_service_whose_chains_changed_comes_back_with_those_it_has(wire: Wire, first: str, second: str) -> None:
    with loaded(wire, first) as name:
        swap(name, compiled(second).bundle)
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
        swap(name, compiled(first).bundle)
        before = describe(name)
        went_down(name)
        change = only(restore([name])).change
        assert change is not None
        assert change.notes == ()
        after = describe(name)
        assert [(at.chain, at.state) for at in after.attachments] == [(at.chain, "attached") for at in before.attachments]
        assert after.previous == before.previous
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
        rollback(name)
        assert {at.chain for at in describe(name).attachments} != {at.chain for at in before.attachments}
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
        rollback(name)
        swap(name, compiled(second).bundle)
        assert not wire.passes(udp("10.1.0.1"))
        found = traces(name)
    assert found.remaining() == []


def test_a_rollback_goes_to_another_version_after_a_reboot_too(wire: Wire) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop")) as name:
        swap(name, compiled(with_rules(FIREWALL, "sources", "10.2.0.0/16 -> drop")).bundle)
        went_down(name)
        restore([name])
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [True, False]
        rollback(name)
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]


def test_what_is_written_down_is_for_its_owner_alone(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        assert place_of(name).folder.stat().st_mode & 0o777 == 0o700


def test_services_come_back_in_the_order_in_which_they_were_loaded(wire: Wire) -> None:
    first, second = f"z{new_name()}", f"a{new_name()}"
    bundles = compiled(FIREWALL).bundle, compiled(FIREWALL, "tc").bundle
    with wire.right.entered():
        load(bundles[0], first, ["eth0"])
        load(bundles[1], second, ["eth0"])
    try:
        for name in (first, second):
            change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
            went_down(name)
        assert [(each.name, each.outcome) for each in restore()] == [(first, "restored"), (second, "restored")]
        assert [(each.name, each.outcome) for each in restore()] == [(first, "loaded"), (second, "loaded")]
    finally:
        unload(first)
        assert not wire.passes(udp("10.1.0.1"))
        unload(second)


# ---- saved, and not loaded


def test_a_saved_service_is_shown_and_nothing_else_is_done_with_it(wire: Wire) -> None:
    with loaded(wire, VERSION) as name:
        set_configs(name, {"version": 77})
        went_down(name)
        assert loaded_names() == ()
        saved = describe_saved(name)
        assert saved is not None
        assert (saved.netns, saved.generation, [setting.value for setting in saved.settings]) == (wire.right.name, 2, [77])
        assert [(at.device, at.state) for at in saved.attachments] == [("eth0", "saved")]
        assert list_not_loaded() == (saved,)
        for command in (
            lambda: describe(name),
            lambda: statistics(name),
            lambda: set_configs(name, {"version": 1}),
            lambda: rollback(name),
            lambda: save([name]),
            lambda: load(compiled(VERSION).bundle, name, ["lo"]),
        ):
            with pytest.raises(RuntimeProblem) as caught:
                command()
            assert caught.value.name == "not-restored"
            assert f"pcnc restore {name}" in caught.value.help
        assert [at.state for at in unload(name)] == ["saved"]
        assert list_not_loaded() == ()
        assert not place_of(name).folder.parent.exists()


def test_numbers_that_an_earlier_start_wrote_are_never_trusted(wire: Wire) -> None:
    """By coincidence device and program have the numbers now that they had before the reboot, and are somebody else's."""
    with loaded(wire, FIREWALL) as name:
        went_down(name)
        with load_minimal(ProgramType.XDP) as theirs, wire.right.entered():
            attach_xdp("eth0", theirs.fd)
            state = place_of(name).state
            written = read_json(state)
            device, _, *others = written["attachments"][0]
            same = [device, wire.right.index("eth0"), *others]
            same[5] = theirs.facts.id
            namespace = wire.right.path.stat().st_ino
            write_json(state, {**written, "attachments": [same], "namespace": namespace})
            assert failed(only(restore([name]))) == "device-carries-xdp"
            assert [at.state for at in unload(name)] == ["saved"]
            found = xdp_attachment("eth0")
            assert found is not None
            assert found.program_id == theirs.facts.id


def test_without_its_device_or_namespace_a_service_stays_saved_and_the_others_come(wire: Wire, lab: Lab) -> None:
    other = lab.namespace("other")
    lab.veth(other, "eth0", other, "eth1")
    second = new_name()
    with loaded(wire, FIREWALL) as name, other.entered():
        load(compiled(FIREWALL).bundle, second, ["eth0", "eth1"])
        went_down(name)
        went_down(second)
        other.run("ip", "link", "del", "eth0")
        assert {each.name: each.problem and each.problem.name for each in restore()} == {name: None, second: "no-such-device"}
        state = place_of(second).state
        write_json(state, {**read_json(state), "netns": "pcnc-is-not-there"})
        assert failed(only(restore([second]))) == "no-namespace"
        write_json(state, {**read_json(state), "netns": None})
        assert failed(only(restore([second]))) == "no-namespace"
        assert not place_of(second).pins.exists()
        write_json(state, {**read_json(state), "netns": other.name})
        child = os.fork()
        if child == 0:
            time.sleep(0.5)
            os._exit(os.system("ip link add eth0 type veth peer name eth1"))
        assert only(restore([second], wait=30)).outcome == "restored"
        os.waitpid(child, 0)
        unload(second)


# ---- what somebody took off a loaded service


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_what_was_taken_off_is_put_back(wire: Wire, hook: str) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop"), "tc" if hook == "tc" else "xdp") as name:
        assert only(restore([name])).outcome == "loaded"
        take_off = ("ip", "link", "set", "eth0", "xdp", "off") if hook == "xdp" else ("tc", "qdisc", "del", "dev", "eth0", "clsact")
        wire.right.run(*take_off)
        assert wire.passes(udp("10.1.0.1"))
        assert only(restore()).outcome == "loaded", "with --all what is loaded is left alone"
        assert [at.state for at in describe(name).attachments] == ["detached"]
        generation = describe(name).generation
        assert only(restore([name])).outcome == "mended"
        assert not wire.passes(udp("10.1.0.1"))
        facts = describe(name)
        assert ([at.state for at in facts.attachments], facts.generation) == (["attached"], generation)
        found = traces(name)
    assert found.remaining() == []
    assert "clsact" not in wire.right.run("tc", "qdisc", "show", "dev", "eth0")


def test_another_program_in_its_place_is_left_alone(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name, load_minimal(ProgramType.XDP) as theirs:
        wire.right.run("ip", "link", "set", "eth0", "xdp", "off")
        with wire.right.entered():
            attach_xdp("eth0", theirs.fd)
            assert failed(only(restore([name]))) == "device-carries-xdp"
            found = xdp_attachment("eth0")
        assert found is not None
        assert found.program_id == theirs.facts.id


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_without_its_pins_a_service_is_built_anew_and_no_packet_gets_by_meanwhile(wire: Wire, hook: str) -> None:
    with loaded(wire, with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop"), "tc" if hook == "tc" else "xdp") as name:
        remove_tree(place_of(name).pins)
        time.sleep(0.1)
        assert not wire.passes(udp("10.3.0.1")), "fail closed"
        assert only(restore([name])).outcome == "restored"
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 3)] == [False, True]
        assert [at.state for at in describe(name).attachments] == ["attached"]
        found = traces(name)
    assert found.remaining() == []


def test_a_name_that_nothing_is_written_down_of_is_told() -> None:
    assert failed(only(restore([new_name()]))) == "not-loaded"
    assert restore() == ()
