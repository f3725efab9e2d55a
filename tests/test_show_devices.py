"""What `pcnc show` says when others have touched a device, a filter or a pin; and that it tells how to mend it."""

from __future__ import annotations

import io
import json
import os
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from bench.lab import Lab
from pcnc.cli.application import run
from pcnc_runtime.attach import Direction, attach_xdp, replace_tc, tcx_programs, xdp_attachment
from pcnc_runtime.libbpf import library
from pcnc_runtime.operations import describe, restore, unload
from pcnc_runtime.pins import open_map, pin, remove_tree
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType
from pcnc_runtime.state import place_of
from tests.live_service import FIREWALL, Wire, loaded, traces, udp, with_rules

pytestmark = pytest.mark.kernel

BLOCKING = with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop")
"""Drops what comes from 10.1.0.0/16."""


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))


def show(*arguments: str) -> str:
    """What `pcnc show` prints, without another process."""
    output = io.StringIO()
    with redirect_stdout(output):
        assert run(["show", *arguments]) == 0
    return output.getvalue()


def said(name: str) -> tuple[list[Any], str]:
    """The devices by `show NAME --json`, once it is sure that the list and the words for people say the same."""
    one = json.loads(show(name, "--json"))
    (listed,) = json.loads(show("--json"))
    assert one["attachments"] == listed["attachments"]
    assert one["faults"] == listed["faults"]
    words, short = show(name), show()
    for text in (*(at["remark"] for at in one["attachments"]), *one["faults"]):
        assert text in words
        assert text in short
    return one["attachments"], short


def test_all_is_well(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        (at,), words = said(name)
        assert (at["state"], at["remark"]) == ("attached", "")
        assert "pcnc restore" not in words


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_taken_off(wire: Wire, hook: str) -> None:
    with loaded(wire, BLOCKING, "tc" if hook == "tc" else "xdp") as name:
        off = "ip link set eth0 xdp off" if hook == "xdp" else "tc filter del dev eth0 ingress"
        wire.right.run(*off.split())
        (at,), words = said(name)
        assert (at["state"], at["remark"]) == ("detached", "taken off by somebody")
        assert f"pcnc restore {name} mends it" in words


def test_replaced_at_xdp(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name, load_minimal(ProgramType.XDP) as theirs, wire.right.entered():
        wire.right.run("ip", "link", "set", "eth0", "xdp", "off")
        attach_xdp("eth0", theirs.fd)
        (at,), words = said(name)
        assert at["state"] == "replaced"
        assert f"id {theirs.facts.id}" in at["remark"]
        assert "take the other program off" in words


def test_replaced_in_our_filter(wire: Wire) -> None:
    with loaded(wire, BLOCKING, "tc") as name, load_minimal(ProgramType.SCHED_CLS) as theirs, wire.right.entered():
        replace_tc("eth0", Direction.INGRESS, theirs.fd)
        (at,), _ = said(name)
        assert at["state"] == "replaced"
        assert str(theirs.facts.id) in at["remark"]


def test_made_to_run_in_another_mode_and_taken_off_nevertheless(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        pinned = place_of(name).pins / "program_ingress"
        wire.right.run("ip", "link", "set", "eth0", "xdp", "off")
        wire.right.run("ip", "link", "set", "eth0", "xdpgeneric", "pinned", str(pinned))
        (at,), _ = said(name)
        assert (at["state"], at["remark"]) == ("attached", "somebody made it run in generic mode")
        assert [each.state for each in unload(name)] == ["attached"]
        with wire.right.entered():
            assert xdp_attachment("eth0") is None


def test_a_filter_before_ours(wire: Wire) -> None:
    """The minimal program takes every packet, and is the last to see it."""
    with loaded(wire, BLOCKING, "tc") as name, load_minimal(ProgramType.SCHED_CLS) as theirs:
        pinned = place_of(name).pins / "theirs"
        pin(theirs.fd, pinned)
        for preference in ("1", "200"):
            command = f"tc filter add dev eth0 ingress pref {preference} bpf da pinned {pinned}"
            wire.right.run(*command.split())
        assert wire.passes(udp("10.1.0.1")), "the rule of ours is not asked"
        (at,), _ = said(name)
        assert at["state"] == "attached"
        assert at["remark"].startswith("packets come to others first, which may end their way: pref 1 bpf `")
        assert "200" not in at["remark"]


def test_a_program_of_tcx_before_ours(wire: Wire) -> None:
    with loaded(wire, BLOCKING, "tc") as name, load_minimal(ProgramType.SCHED_CLS) as theirs, wire.right.entered():
        index = wire.right.index("eth0")
        link = library().bpf_link_create(theirs.fd, index, 46, None)
        if link < 0:  # before Linux 6.6
            assert tcx_programs(index, Direction.INGRESS) == ()
            return
        try:
            (at,), _ = said(name)
        finally:
            os.close(link)
        assert at["remark"].startswith("packets come to others first, which may end their way: program ")
        assert f"id {theirs.facts.id}" in at["remark"]


def test_a_link_that_is_down_and_another_name(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        wire.right.run("ip", "link", "set", "eth0", "down")
        (at,), _ = said(name)
        assert (at["state"], at["remark"]) == ("attached", "its link is down")
        wire.right.run("ip", "link", "set", "eth0", "name", "lan0")
        assert said(name)[0][0]["remark"] == "the device is named lan0 now; its link is down"


def test_gone_and_come_again(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        wire.right.run("ip", "link", "del", "eth0")
        (at,), words = said(name)
        assert (at["state"], at["remark"]) == ("gone", "the device is gone")
        assert f"when there is a device of that name again: pcnc restore {name}" in words
        wire.right.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth9")
        assert said(name)[0][0]["remark"] == "the device is gone, and another one has its name"
        assert [each.outcome for each in restore([name])] == ["mended"]
        assert [each.state for each in describe(name).attachments] == ["attached"]


def test_moved_to_another_namespace_it_is_found_and_taken_off_there(wire: Wire, lab: Lab) -> None:
    other = lab.namespace("other")
    with loaded(wire, BLOCKING) as name:
        wire.right.run("ip", "link", "set", "eth0", "netns", other.name)
        (at,), words = said(name)
        assert (at["state"], at["remark"]) == ("moved", f"moved to network namespace {other.name}, as eth0")
        assert f"pcnc unload {name} takes it off there" in words
        found = traces(name)
        assert [each.state for each in unload(name)] == ["moved"]
        assert found.remaining() == []
        with other.entered():
            assert xdp_attachment("eth0") is None


def test_a_namespace_that_is_gone(lab: Lab) -> None:
    with Wire(lab) as wire, loaded(wire, BLOCKING) as name:
        wire.close()
        subprocess.run(["ip", "netns", "del", wire.right.name], check=True)
        (at,), _ = said(name)
        assert (at["state"], at["remark"]) in (("gone", "its network namespace is gone"), ("gone", "the device is gone"))


def test_pins_that_somebody_removed(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        remove_tree(place_of(name).pins)
        _, words = said(name)
        assert "the pins of chain ingress were removed" in words
        assert f"pcnc restore {name} mends it" in words
        restore([name])
        assert "pcnc restore" not in said(name)[1]
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]


def test_an_entry_that_somebody_emptied_and_blocks_that_are_gone(wire: Wire) -> None:
    with loaded(wire, BLOCKING) as name:
        with open_map(place_of(name).pins / "entry_ingress") as entry:
            entry.delete(0)
        assert "the entry of chain ingress was emptied or changed" in said(name)[1]
        assert [each.outcome for each in restore([name])] == ["restored"]
        assert wire.passes(udp("10.2.0.1"))
        remove_tree(place_of(name).generation(describe(name).generation))
        assert "blocks of chain ingress are gone" in said(name)[1]
        restore([name])
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]
        found = traces(name)
    assert found.remaining() == []
