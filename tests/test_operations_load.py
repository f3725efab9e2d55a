"""Loading and unloading, live: packets meet the rules, a load that fails leaves nothing, and neither does one that ended."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.lab import Lab
from bench.traffic import Kind, Sink
from pcnc_runtime.attach import XdpMode, xdp_attachment
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import describe, load, loaded_names, read_settings, set_configs, unload
from pcnc_runtime.state import place_of
from tests.live_service import FIREWALL, Wire, chain, compiled, loaded, new_name, open_files, reason, traces, udp, with_rules

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[1]
BLOCKS_TEN = with_rules(FIREWALL, "sources", "10.0.0.0/24 -> drop")
BOTH_WAYS = """
service both_ways {
    config port: u16 = 53
    chain ingress { stage come { if udp { if udp.dport == port { drop } } } }
    chain egress  { stage go   { if udp { if udp.sport == port { drop } } } }
}
"""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def refused(
    wire: Wire, *devices: str, text: str = FIREWALL, name: str | None = None, mode: XdpMode | None = None
) -> RuntimeProblem:
    """The problem of a load that must fail, and of which nothing may remain."""
    name, before = name or new_name(), open_files()
    with wire.right.entered(), pytest.raises(RuntimeProblem) as caught:
        load(compiled(text).bundle, name, devices, mode=mode)
    assert open_files() == before
    if caught.value.name not in ("bad-name", "name-in-use"):
        place = place_of(name)
        assert not place.pins.exists()
        assert not place.folder.exists()
    return caught.value


def test_the_files_rules_are_in_force_and_counted(wire: Wire) -> None:
    assert wire.passes(udp("10.0.0.1"))
    with loaded(wire, BLOCKS_TEN) as name:
        assert not wire.passes(udp("10.0.0.1"))
        assert wire.passes(udp("10.0.1.1"))
        facts = describe(name)
        assert [at.state for at in facts.attachments] == ["attached"]
        assert facts.attachments[0].mode == "native"
        assert [rule.text for rule in facts.tables[0].rules] == ["10.0.0.0/24 -> drop"]
        assert facts.tables[0].rules[0].origin == "file"
        assert all(block.program_id for chain in facts.chains for block in chain.blocks)
        counted = facts.tables[0].rules[0].count
        assert counted is not None
        assert counted.packets >= 1
        assert counted.bytes == counted.packets * len(udp())
        assert reason(name, "drop: rule sources") == counted.packets
        assert name in loaded_names()
    assert wire.passes(udp("10.0.0.1"))


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_unloading_leaves_nothing(wire: Wire, hook: str) -> None:
    before = open_files()
    with loaded(wire, BOTH_WAYS, "xdp" if hook == "xdp" else "tc") as name:
        found = traces(name)
        (first, second) = sorted(at.hook for at in unload(name))
        assert (first, second) == ("tc", hook)
    assert found.remaining() == []
    assert open_files() == before
    with wire.right.entered():
        assert xdp_attachment("eth0") is None
    assert "clsact" not in wire.right.run("tc", "qdisc", "show", "dev", "eth0")
    with pytest.raises(RuntimeProblem) as caught:
        unload(name)
    assert caught.value.name == "not-loaded"
    assert name not in loaded_names()


def test_a_qdisc_of_somebody_else_stays(wire: Wire) -> None:
    wire.right.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    with loaded(wire, BOTH_WAYS, "tc"):
        assert not wire.passes(udp(dport=53))
    assert "clsact" in wire.right.run("tc", "qdisc", "show", "dev", "eth0")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_both_chains_run_and_a_setting_holds_in_both(wire: Wire, hook: str) -> None:
    with loaded(wire, BOTH_WAYS, "xdp" if hook == "xdp" else "tc") as name:
        for port in (53, 99):
            if port == 99:
                set_configs(name, {"port": 99})
            assert [setting.text for setting in read_settings(name)] == [str(port)]
            other = 152 - port
            assert not wire.passes(udp(dport=port))
            assert wire.passes(udp(dport=other))
            assert not wire.leaves(udp(sport=port))
            assert wire.leaves(udp(sport=other))
        assert reason(name, "drop: stage go", "egress") >= 2
        assert reason(name, "drop: stage come") >= 2


def test_a_setting_can_be_given_at_the_beginning(wire: Wire) -> None:
    with loaded(wire, BOTH_WAYS, settings={"port": 77}):
        assert not wire.passes(udp(dport=77))
        assert wire.passes(udp(dport=53))


@pytest.mark.parametrize(("settings", "problem"), [({"prt": 1}, "no-such-setting"), ({"port": 65536}, "bad-setting")])
def test_settings_that_there_are_not(wire: Wire, settings: dict[str, int], problem: str) -> None:
    name = new_name()
    with wire.right.entered(), pytest.raises(RuntimeProblem) as caught:
        load(compiled(BOTH_WAYS).bundle, name, ["eth0"], settings=settings)
    assert caught.value.name == problem
    assert not place_of(name).folder.exists()
    with loaded(wire, BOTH_WAYS) as name, pytest.raises(RuntimeProblem) as caught:
        set_configs(name, settings)
    assert caught.value.name == problem


@pytest.mark.parametrize("name", ["", "a.b", "1a", "a" * 33, "../etc", "a b", "-a"])
def test_names_that_are_none(wire: Wire, name: str) -> None:
    assert refused(wire, "eth0", name=name or ".").name == "bad-name"


def test_a_name_is_taken_once(wire: Wire, lab: Lab) -> None:
    with loaded(wire, BLOCKS_TEN) as name:
        with Wire(lab) as other:
            problem = refused(other, "eth0", name=name)
        assert problem.name == "name-in-use"
        assert f"pcnc swap {name}" in problem.help
        assert not wire.passes(udp("10.0.0.1")), "the first one runs on"


def test_devices_that_cannot_be_had(wire: Wire) -> None:
    assert refused(wire).name == "no-devices"
    assert refused(wire, "eth9").name == "no-such-device"
    assert refused(wire, "eth0", "eth9").name == "no-such-device"
    wire.right.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    assert refused(wire, "eth0", "tun0").name == "no-ethernet"
    assert wire.passes(udp())


def test_where_the_second_device_is_taken_the_first_is_let_go(wire: Wire, lab: Lab) -> None:
    lab.veth(wire.left, "eth1", wire.right, "eth1")
    with Sink(wire.right, "eth1"):
        problem = refused(wire, "eth0", "eth1")
    assert problem.name == "device-carries-xdp"
    assert "`sink`" in problem.message
    with wire.right.entered():
        assert xdp_attachment("eth0") is None
    with Sink(wire.right, "eth1", Kind.TC):
        name = new_name()
        with wire.right.entered(), pytest.raises(RuntimeProblem) as caught:
            load(compiled(BOTH_WAYS, "tc").bundle, name, ["eth0", "eth1"])
        assert caught.value.name == "device-carries-tc"
    assert "clsact" not in wire.right.run("tc", "qdisc", "show")


def test_several_devices_share_one_service(wire: Wire, lab: Lab) -> None:
    lab.veth(wire.left, "eth1", wire.right, "eth1")
    name = new_name()
    with wire.right.entered():
        change = load(compiled(BLOCKS_TEN).bundle, name, ["eth0", "eth1", "eth0"], mode=XdpMode.GENERIC)
    try:
        assert [(at.device, at.mode) for at in change.attachments] == [("eth0", "generic"), ("eth1", "generic")]
        before = chain(name).packets
        wire.send(udp("10.0.0.1"))
        assert chain(name).packets > before
    finally:
        unload(name)
    with wire.right.entered():
        assert xdp_attachment("eth0") is xdp_attachment("eth1") is None


def test_an_object_that_is_none_is_told_and_nothing_remains(wire: Wire) -> None:
    bundle = compiled(BLOCKS_TEN).bundle
    broken = {
        path: b"\x7fELF" + bytes(60) if path.endswith("_sources.bpf.o") else content for path, content in bundle.files.items()
    }
    name, before = new_name(), open_files()
    with wire.right.entered(), pytest.raises(RuntimeProblem) as caught:
        load(replace(bundle, files=broken), name, ["eth0"])
    assert caught.value.name == "broken-object"
    assert open_files() == before
    assert not place_of(name).pins.exists()
    assert not place_of(name).folder.exists()
    with wire.right.entered():
        assert xdp_attachment("eth0") is None


def test_a_kernel_that_lacks_what_is_needed_is_told(wire: Wire) -> None:
    bundle = compiled(FIREWALL).bundle
    with wire.right.entered(), pytest.raises(RuntimeProblem) as caught:
        load(replace(bundle, manifest=replace(bundle.manifest, needs=("xdp", "teleport"))), new_name(), ["eth0"])
    assert caught.value.name == "kernel-lacks"
    assert "`teleport`" in caught.value.message


def test_a_service_is_unloaded_from_whatever_namespace(wire: Wire, lab: Lab) -> None:
    with loaded(wire, BLOCKS_TEN) as name, lab.namespace("elsewhere").entered():
        assert [at.state for at in describe(name).attachments] == ["attached"]
        assert [at.state for at in unload(name)] == ["attached"]
    with wire.right.entered():
        assert xdp_attachment("eth0") is None


def test_devices_that_are_gone_are_no_obstacle(wire: Wire) -> None:
    with loaded(wire, BOTH_WAYS) as name:
        found = traces(name)
        wire.right.run("ip", "link", "del", "eth0")
        assert [at.state for at in describe(name).attachments] == ["gone", "gone"]
        assert [at.state for at in unload(name)] == ["gone", "gone"]
    assert found.remaining() == []


def test_a_namespace_that_is_gone_is_no_obstacle(lab: Lab) -> None:
    with Wire(lab) as wire, loaded(wire, BLOCKS_TEN) as name:
        subprocess.run(["ip", "netns", "del", wire.right.name], check=True)
        wire.close()  # a socket keeps its namespace
        assert [at.state for at in unload(name)] == ["gone"]


def test_a_program_of_somebody_else_stays(wire: Wire) -> None:
    with loaded(wire, BLOCKS_TEN) as name:
        wire.right.run("ip", "link", "set", "eth0", "xdp", "off")
        assert [at.state for at in describe(name).attachments] == ["detached"]
        with Sink(wire.right, "eth0") as sink:
            assert [at.state for at in describe(name).attachments] == ["replaced"]
            assert [at.state for at in unload(name)] == ["replaced"]
            wire.send(udp())
            assert sink.wait_for(1) >= 1


def test_it_outlives_the_process_that_loaded_it(wire: Wire) -> None:
    with loaded(wire, BLOCKS_TEN) as name:
        code = f"from pcnc_runtime.operations import describe; print(describe({name!r}).generation)"
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "1\n"
