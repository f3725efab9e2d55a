"""What was loaded comes back after a reboot: a machine of namespaces goes down, and one with nothing but its disk comes up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.live_service import FIREWALL
from tests.reboot import Machine

pytestmark = pytest.mark.kernel

GUARD = """
service guard {
    config limit: u8 = 100
    table peers {
        match   ipv4.dst: ternary
        action  drop, next
        default next
        size    64
        order   first
        count   packets
    }
    stage small { if ipv4 and ipv4.ttl > limit { drop } }
    chain ingress { small }
    chain egress  { peers }
    rules peers { 10.9.0.0/16 -> drop }
}
"""


def cable(machine: Machine) -> None:
    """Devices as this machine has them after each start: one of its own, to a namespace `lan`, and another from there to `far`."""
    machine.run(
        "set -e; ip netns add lan; ip netns add far\n"
        "ip link add out0 type veth peer name eth0 netns lan\n"
        "ip addr add 10.0.0.1/24 dev out0; ip link set out0 up\n"
        "ip -n lan addr add 10.0.0.2/24 dev eth0; ip -n lan addr add 10.0.0.3/24 dev eth0; ip -n lan link set eth0 up\n"
        "ip -n lan link add eth1 type veth peer name eth0 netns far\n"
        "ip -n lan addr add 10.1.0.1/24 dev eth1; ip -n lan link set eth1 up; ip -n lan link set lo up\n"
        "ip -n far addr add 10.1.0.2/24 dev eth0; ip -n far link set eth0 up\n"
    ).check()


def verdicts(machine: Machine) -> list[bool]:
    """Which pings come back: by fw (own device), and by guard (in `lan`)."""
    asked = (
        "nsenter --net=/run/netns/lan ping -c1 -W1 -I 10.0.0.2 10.0.0.1",
        "nsenter --net=/run/netns/lan ping -c1 -W1 -I 10.0.0.3 10.0.0.1",
        "nsenter --net=/run/netns/far ping -c1 -W1 10.1.0.1",
        "nsenter --net=/run/netns/far ping -c1 -W1 -t 99 10.1.0.1",
    )
    return [machine.run(command).status == 0 for command in asked]


def rules(machine: Machine, name: str, table: str) -> list[tuple[int, str, str]]:
    listed = machine.pcnc("rules", name, table, "list", "--json").check().json["rules"]
    return [(rule["id"], rule["origin"], rule["rule"]) for rule in listed]


def shown(machine: Machine, name: str) -> Any:
    return machine.pcnc("show", name, "--json").check().json


def packets(machine: Machine, name: str) -> list[int]:
    return [chain["packets"] for chain in shown(machine, name)["statistics"]["chains"]]


def attached(service: Any) -> list[tuple[str, ...]]:
    return [tuple(at[key] for key in ("device", "chain", "hook", "mode", "state")) for at in service["attachments"]]


def test_a_reboot_brings_everything_back_and_packets_get_the_same_verdicts(tmp_path: Path) -> None:
    (tmp_path / "fw.pcn").write_text(FIREWALL)
    (tmp_path / "guard.pcn").write_text(GUARD)
    with Machine(tmp_path) as machine:
        cable(machine)
        in_lan = ("nsenter", "--net=/run/netns/lan")
        machine.pcnc("load", tmp_path / "fw.pcn", "--name", "fw", "--dev", "out0", "--mode", "generic").check()
        machine.pcnc("load", tmp_path / "guard.pcn", "--name", "guard", "--hook", "tc", "--dev", "eth1", before=in_lan).check()
        machine.pcnc("rules", "fw", "sources", "add", "10.0.0.2 -> drop").check()
        machine.pcnc("rules", "guard", "peers", "add", "10.8.0.0/16 -> next", "10.7.0.0/16 -> next").check()
        machine.pcnc("rules", "guard", "peers", "add", "--last", "10.1.0.77 -> drop").check()
        machine.pcnc("set", "guard", "limit=64").check()
        before = verdicts(machine)
        machine.pcnc("save", "--all").check()
        counted = packets(machine, "fw") + packets(machine, "guard")
        listed = rules(machine, "fw", "sources") + rules(machine, "guard", "peers")
        fw, guard = shown(machine, "fw"), shown(machine, "guard")
    assert before == [False, True, True, False]

    with Machine(tmp_path) as machine:
        waiting = machine.pcnc("show", "--json").check().json
        assert [(each["name"], each["state"], each["netns"]) for each in waiting] == [
            ("fw", "saved", ""),
            ("guard", "saved", "lan"),
        ]
        machine.pcnc("rules", "fw", "sources", "add", "10.0.0.4 -> drop").refused("not-restored")
        machine.pcnc("load", tmp_path / "fw.pcn", "--name", "fw", "--dev", "lo").refused("not-restored")
        early = machine.pcnc("restore", "--all", "--json")
        assert early.status == 1
        assert [each["problem"]["name"] for each in early.json] == ["no-such-device", "no-namespace"]
        waits = machine.start("restore", "--all", "--wait", "60")
        cable(machine)
        assert waits.wait(timeout=60) == 0
        assert verdicts(machine) == before
        assert rules(machine, "fw", "sources") + rules(machine, "guard", "peers") == listed
        again = shown(machine, "fw"), shown(machine, "guard")
        for was, now in zip((fw, guard), again, strict=True):
            assert (now["generation"], now["what"]) == (was["generation"] + 1, "restore")
            for key in ("service", "hook", "previous", "variant", "exact", "settings", "loaded", "source", "compiler"):
                assert now[key] == was[key], key
            same = ("device", "chain", "hook", "mode", "state")
            assert [[at[key] for key in same] for at in now["attachments"]] == [
                [at[key] for key in same] for at in was["attachments"]
            ]
            blocks = [{block["program_id"] for chain in each["chains"] for block in chain["blocks"]} for each in (was, now)]
            assert not blocks[0] & blocks[1]
        assert all(now >= was for was, now in zip(counted, packets(machine, "fw") + packets(machine, "guard"), strict=True))
        machine.pcnc("rollback", "fw").check()
        assert verdicts(machine)[:2] == [True, True]
        machine.pcnc("rollback", "fw").check()
        assert verdicts(machine)[:2] == [False, True]
        machine.pcnc("rules", "fw", "sources", "add", "10.0.0.3 -> drop").check()
        assert verdicts(machine)[:2] == [False, False]

    with Machine(tmp_path) as machine:
        cable(machine)
        machine.pcnc("restore", "--all").check()
        assert verdicts(machine) == [False, False, True, False]
        machine.pcnc("unload", "fw").check()
        machine.pcnc("unload", "guard").check()
        assert machine.run("ls /run/pcnc; find /sys/fs/bpf -mindepth 1 -name 'pcnc*'").output == ""
    assert not (tmp_path / "disk").exists()
