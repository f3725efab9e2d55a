"""What the times of flips stand on: the parts of an operation are told, and packets say what they should of each change."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.compiled import FIREWALL, firewall
from bench.flips import PHASES, measure_flips, source
from bench.lab import Lab
from bench.observer import Observer, flows
from bench.replace_link import LinkedProgram
from bench.timed_build import empty_cache, timed_build
from bench.traffic import Generator
from pcnc.cli.compile_service import build_service
from pcnc_runtime.phases import listening, phase


def test_phases_are_told_to_who_listens() -> None:
    with phase("nobody hears it"):
        pass
    with listening() as heard:
        with phase("load"):
            time.sleep(0.002)
        with pytest.raises(ValueError, match="no"), phase("flip"):
            raise ValueError("no")
    with phase("nobody hears it"):
        pass
    assert [each.name for each in heard] == ["load", "flip"]
    assert heard[0].seconds >= 0.002
    assert heard[0].ended <= heard[1].began


@pytest.mark.clang
def test_a_timed_build_is_the_build_of_the_command() -> None:
    text = FIREWALL.read_text()
    with listening() as heard:
        made = timed_build(text, FIREWALL.name)
    expected = build_service(firewall(text), "xdp")
    assert made.files == expected.files
    assert made.manifest.variants == expected.manifest.variants
    assert {each.name for each in heard} == {"parse", "optimise", "emit", "compile"}


def test_what_was_compiled_before_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("/somewhere", None):
        if before is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", before)
        with empty_cache():
            folder = Path(os.environ["XDG_CACHE_HOME"])
            assert list(folder.iterdir()) == []
        assert not folder.exists()
        assert os.environ.get("XDG_CACHE_HOME") == before


def test_the_service_that_is_changed_holds_so_many_different_rules() -> None:
    lines = [line.strip() for line in source(1, 1_000).splitlines() if "-> mark(1)" in line]
    assert len(set(lines)) == 1_000


@pytest.mark.kernel
def test_packets_tell_when_a_change_took_effect() -> None:
    rule, version, link = measure_flips(rules=(2,), changes=4, versions=1, link_updates=2)
    assert rule.rules == 2
    assert (rule.runs >= 4, version.runs >= 1, link.runs >= 2) == (True, True, True)
    for row in (rule, version, link):
        assert 0 < row.told <= row.runs
        assert row.last < row.first
        assert row.last <= row.last_p99
        assert 0 < row.write <= row.write_p99
        assert row.write <= row.effect + row.write_p99
        assert tuple(row.phases) == PHASES
    assert rule.phases["load"] > 0
    assert not rule.phases["compile"], "the code for such rules is there"
    assert all(version.phases[name] > 0 for name in PHASES)


@pytest.mark.kernel
def test_a_link_replaces_one_program_by_the_other(lab: Lab) -> None:
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    with (
        Observer(right, "eth0", (1, 2)) as observer,
        LinkedProgram(right, "eth0") as linked,
        Generator(left, "eth0", *flows(1), rate=10_000),
    ):
        for mark in (2, 1):
            linked.replace(mark)
            time.sleep(0.05)
            assert observer.marks == mark
