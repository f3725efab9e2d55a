"""The command on loaded services: load, rules, swap, rollback, set, show, stats, unload, with packets on a wire."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.lab import Lab
from tests.command_line import EXAMPLES, ended, no_compiler, pcnc, start
from tests.live_service import FIREWALL, Wire, new_name, udp, with_rules
from tests.loaded_by_command import Service, loaded

pytestmark = [pytest.mark.kernel, pytest.mark.clang]
LIMITS = """service limits {
    config least: u8 = 10
    table seen { match ipv4.src: exact; action next, drop; default next; count packets }
    chain ingress { if ipv4 { if ipv4.ttl < least { drop } seen } }
}
"""
ORDERED = """service acl {
    table acl {
        match   ipv4.src: prefix, l4.dport: range
        action  next, drop
        default next
        order   first
        size    2k
    }
    rules acl { l4.dport=7 -> drop }
    chain ingress { acl }
}
"""


@pytest.fixture
def firewall(wire: Wire, tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "firewall.pcn"
    path.write_text(FIREWALL)
    with loaded(wire, path) as service:
        yield service


def test_from_load_to_unload(wire: Wire) -> None:
    name = new_name()
    command = ("load", EXAMPLES / "firewall.pcn", "--name", name, "--dev", "eth0")
    done = pcnc(*command, within=wire.right).check()
    assert f"{name}: generation 1 is in force" in done.output
    assert "eth0 ingress (xdp, native)" in done.output
    service = Service(wire, name)
    try:
        assert wire.passes(udp(source="10.0.0.1"))
        service.rules("sources", "add", "10.0.0.0/8 -> drop", "11.0.0.0/8 -> next").check()
        assert not wire.passes(udp(source="10.0.0.1"))
        assert wire.passes(udp(source="11.0.0.1"))
        shown = service.run("show").check().output
        assert "2 of 3 blocks run" in shown
        assert "10.0.0.0/8 -> drop" in shown
        assert "drop: rule sources" in service.run("stats").check().output
        service.rules("sources", "delete", "10.0.0.0/8").check()
        assert wire.passes(udp(source="10.0.0.1"))
        service.run("rollback").check()
        assert not wire.passes(udp(source="10.0.0.1"))
        assert f"{name}  service firewall, generation" in pcnc("show").check().output
    finally:
        done = service.run("unload").check()
    assert done.output == f"{name}: unloaded\n  eth0 ingress (xdp, native)\n"
    assert wire.passes(udp(source="10.0.0.1"))
    assert "error[not-loaded]" in service.run("show").errors


def test_a_chain_that_comes_or_goes_is_told(wire: Wire, firewall: Service, tmp_path: Path) -> None:
    both = tmp_path / "both.pcn"
    both.write_text(FIREWALL.replace("chain ingress", "chain egress { stage out { if udp { drop } } }\n    chain ingress"))
    assert "chain egress +" in firewall.run("swap", str(both), "--dry-run").check().output
    assert wire.leaves(udp())
    assert "\n  eth0 egress (tc)\n" in firewall.run("swap", str(both)).check().output
    assert not wire.leaves(udp())
    told = firewall.run("rollback", "--json").check().json
    assert (told["attachments"], [(at["device"], at["chain"]) for at in told["detached"]]) == ([], [("eth0", "egress")])
    assert wire.leaves(udp())
    assert "\n  eth0 egress (tc)\n" in firewall.run("rollback").check().output
    assert "\n  eth0 egress (tc), taken off\n" in firewall.run("rollback").check().output


def test_a_bundle_needs_no_compiler(wire: Wire, tmp_path: Path) -> None:
    name, bundle = new_name(), tmp_path / "bundle"
    pcnc("build", EXAMPLES / "firewall.pcn", "-o", bundle, "--hook", "tc").check()
    poor = no_compiler(tmp_path)
    command = ("load", bundle, "--name", name, "--dev", "eth0")
    pcnc(*command, "--hook", "xdp", within=wire.right).refused("other-hook")
    done = pcnc(*command, within=wire.right, changed=poor).check()
    try:
        assert "eth0 ingress (tc)" in done.output
        done = pcnc("rules", name, "sources", "add", "10.0.0.0/8 -> drop", changed=poor).check()
        assert "wider variant `general`" in done.errors
        assert not wire.passes(udp(source="10.0.0.1"))
    finally:
        pcnc("unload", name).check()


def test_a_bundle_that_was_changed_is_not_loaded(wire: Wire, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    pcnc("build", EXAMPLES / "firewall.pcn", "-o", bundle).check()
    (bundle / "entry_ingress.bpf.o").write_bytes(b"\x7fELF")
    pcnc("load", bundle, "--name", new_name(), "--dev", "eth0", within=wire.right).refused("broken-bundle")
    pcnc("load", tmp_path, "--name", new_name(), "--dev", "eth0", within=wire.right).refused("not-a-bundle")


def test_more_devices_follow_the_first(lab: Lab, wire: Wire, tmp_path: Path) -> None:
    lab.veth(wire.left, "eth1", wire.right, "eth1")
    with loaded(wire, EXAMPLES / "firewall.pcn", "eth1", "--mode", "generic") as service:
        attached = [(at["device"], at["mode"], at["state"]) for at in service.show()["attachments"]]
        assert attached == [("eth0", "generic", "attached"), ("eth1", "generic", "attached")]


# ---- rules


def test_thousands_of_rules_at_once(firewall: Service, tmp_path: Path) -> None:
    lines = [f"10.{index >> 8}.{index & 255}.0/24 -> drop" for index in range(1000)]
    path = tmp_path / "sources.rules"
    path.write_text("# networks\n" + "\n".join(lines) + "\n")
    done = firewall.rules("sources", "add", "--file", path, "--json").check()
    assert done.json["rules"][0]["added"] == list(range(1, 1001))
    assert not firewall.wire.passes(udp(source="10.3.231.9"))
    assert firewall.wire.passes(udp(source="10.3.232.9"))
    done = firewall.rules("sources", "replace", "--file", "-", given="\n".join(lines[10:20])).check()
    assert "sources: 990 removed (ids 1-10, 21-1000)" in done.output
    assert firewall.listed("sources")[0] == (11, "operator", "10.0.10.0/24 -> drop")
    firewall.rules("sources", "delete", "--all").check()
    assert firewall.listed("sources") == []


def test_one_bad_line_among_thousands_changes_nothing(firewall: Service, tmp_path: Path) -> None:
    lines = [f"10.{index >> 8}.{index & 255}.0/24 -> drop" for index in range(3000)]
    lines[1776] = "10.6.240.0/24 -> dorp"
    path = tmp_path / "sources.rules"
    path.write_text("\n".join(lines))
    before = firewall.show()
    said = firewall.rules("sources", "add", "--file", path).refused("action-not-in-table")
    assert f"{path}:1777:18" in said
    assert "1777 | 10.6.240.0/24 -> dorp" in said
    assert "did you mean `drop`?" in said
    assert firewall.show() == before
    path.write_bytes(b"10.0.0.0/8 -> drop\n\xff\n")
    assert f"{path}:2:1" in firewall.rules("sources", "add", "--file", path).refused("not-utf-8")
    firewall.rules("sources", "add", "--file", path.with_name("none")).refused("no-such-file")
    firewall.rules("sources", "add", "--file", tmp_path).refused("is-a-folder")
    assert firewall.show() == before


def test_a_hundred_thousand_rules(wire: Wire, tmp_path: Path) -> None:
    source, path = tmp_path / "firewall.pcn", tmp_path / "sources.rules"
    source.write_text(FIREWALL.replace("1k", "128k"))
    path.write_text("".join(f"{index >> 8 & 255}.{index & 255}.{index >> 16}.1 -> drop\n" for index in range(256, 100_256)))
    with loaded(wire, source) as service:
        began = time.monotonic()
        service.rules("sources", "add", "--file", path).check()
        assert time.monotonic() - began < 60  # 3 s on a machine that does nothing else
        assert not wire.passes(udp(source="1.0.0.1"))
    source.write_text(FIREWALL)
    with loaded(wire, source) as service:
        before = service.show()
        service.rules("sources", "add", "--file", path).refused("table-too-small")
        assert service.show() == before


def test_rules_that_cannot_be(firewall: Service) -> None:
    firewall.rules("sources", "add", "10.0.0.0/8 -> drop").check()
    before = firewall.show()
    assert "did you mean `sources`?" in firewall.rules("sorces", "add", "* -> drop").refused("no-such-table")
    assert "rule 1" in firewall.rules("sources", "add", "10.0.0.0/8 -> next").refused("rule-exists")
    firewall.rules("sources", "add", "11.0.0.0/8 -> next", "11.0.0.0/8 -> drop").refused("contradicting-rules")
    firewall.rules("sources", "add", "12.0.0.0/8 -> drop", "--at", "1").refused("bad-position")
    firewall.rules("sources", "delete", "7").refused("no-such-rule")
    firewall.rules("sources", "delete", "13.0.0.0/8").refused("no-such-rule")
    firewall.rules("sources", "delete", "10.0.0.1/8").refused("bits-beyond-prefix")
    assert firewall.rules("sources", "delete", "7", "--all").status == 2
    assert firewall.rules("sources", "add").status == 2
    assert "nothing was changed" in firewall.rules("sources", "add", "12.0.0.0/8 -> drop", "--dry-run").check().output
    assert firewall.rules("sources", "add", "10.0.0.0/8 -> next", "--json").json["error"]["name"] == "rule-exists"
    assert firewall.show() == before


def test_rules_stand_where_they_are_put(wire: Wire, tmp_path: Path) -> None:
    source = tmp_path / "acl.pcn"
    source.write_text(ORDERED)
    with loaded(wire, source) as service:
        assert not wire.passes(udp(dport=7))
        service.rules("acl", "add", "ipv4.src=10.0.0.1 -> next", "ipv4.src=10.0.0.2 -> next").check()
        assert wire.passes(udp(dport=7))
        service.rules("acl", "add", "ipv4.src=10.0.0.3 -> next", "ipv4.src=10.0.0.4 -> next", "--at", "2").check()
        service.rules("acl", "add", "ipv4.src=10.0.0.5 -> next", "--before", "2").check()
        done = service.rules("acl", "add", "l4.dport=7, ipv4.src=10.0.0.6 -> next", "--last").check()
        assert "can never match" in done.errors
        assert [id for id, *_ in service.listed("acl")] == [6, 2, 4, 5, 3, 1, 7]
        service.rules("acl", "delete", *(str(id) for id, origin, _ in service.listed("acl") if origin == "operator")).check()
        assert service.listed("acl") == [(1, "file", "l4.dport=7 -> drop")]
        assert "a swap brings it back" in service.rules("acl", "delete", "1").check().errors
        assert wire.passes(udp(dport=7))


# ---- swap, settings


def test_a_swap_keeps_the_operators_rules(firewall: Service, tmp_path: Path) -> None:
    firewall.rules("sources", "add", "10.0.0.0/8 -> drop").check()
    other = tmp_path / "other.pcn"
    other.write_text(with_rules(FIREWALL, "destinations", "198.51.100.0/24 -> drop") + "service beside { chain ingress { drop } }")
    done = firewall.run("swap", other, "--json").check()
    assert done.json["what"] == "swap"
    assert firewall.listed("sources") == [(1, "operator", "10.0.0.0/8 -> drop")]
    assert firewall.listed("destinations") == [(1, "file", "198.51.100.0/24 -> drop")]
    other.write_text(FIREWALL.replace("sources", "origins"))
    before = firewall.show()
    assert "there is no such table" in firewall.run("swap", other).refused("rules-do-not-fit")
    firewall.run("swap", EXAMPLES / "dualstack.pcn", "--service", "nosuch").refused("no-such-service")
    firewall.run("swap", tmp_path / "nothing.pcn").refused("no-such-file")
    assert firewall.show() == before
    firewall.run("swap", other, "--discard", "sources").check()
    assert firewall.wire.passes(udp(source="10.0.0.1"))


def test_settings(wire: Wire, tmp_path: Path) -> None:
    source = tmp_path / "limits.pcn"
    source.write_text(LIMITS)
    with loaded(wire, source, "--set", "least=65") as service:
        assert not wire.passes(udp())
        service.run("set", "least=64").check()
        assert wire.passes(udp())
        before = service.show()
        service.run("set", "least=256").refused("value-does-not-fit")
        service.run("set", "lest=1").refused("no-such-setting")
        assert service.show()["generation"] == before["generation"]
        assert service.show()["settings"] == [{"name": "least", "type": "u8", "value": 64, "text": "64"}]
        assert "setting least = 64" in service.run("show").check().output


# ---- statistics


def test_statistics_count_why(firewall: Service) -> None:
    firewall.rules("sources", "add", "10.0.0.0/8 -> drop").check()
    firewall.wire.send(udp(source="10.0.0.1"), 3)
    firewall.wire.send(udp(source="11.0.0.1"), 2)
    found = firewall.run("stats", "--json").check().json
    (chain,) = found["chains"]
    assert chain["reasons"]["drop: rule sources"] == 3
    assert chain["dropped"] == 3
    assert found["tables"][0]["rules"] == [{"id": 1, "packets": 3, "bytes": 3 * len(udp())}]
    assert "3  " in firewall.rules("sources", "list").check().output


def test_statistics_are_followed_until_ctrl_c(firewall: Service) -> None:
    process = start("stats", firewall.name, "--follow", "--interval", "0.1", "--json", within=firewall.wire.right)
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []
    while len(seen) < 3:
        firewall.wire.send(udp(), 5)
        seen.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    done = ended(process).is_civil()
    assert (done.status, done.errors) == (0, "")
    packets = [each["chains"][0]["packets"] for each in seen]
    assert packets == sorted(packets)
    assert packets[-1] > packets[0]
    assert seen[-1]["interval"] > 0


def test_following_ends_with_the_service(firewall: Service) -> None:
    process = start("stats", firewall.name, "-f", "--interval", "0.1", within=firewall.wire.right)
    assert process.stdout is not None
    process.stdout.readline()
    firewall.run("unload").check()
    ended(process).refused("not-loaded")
