"""The systemd unit that restores at boot: systemd takes it, and it runs at the right time."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pcnc.cli.unit import unit_text
from tests.command_line import pcnc


def sections(text: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # names of systemd have capitals
    parsed.read_string(text)
    return parsed


def test_it_runs_before_the_network_and_ends_before_the_disks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PCNC_STATE", "PCNC_RUN"):
        monkeypatch.delenv(name, raising=False)
    unit = sections(unit_text())
    assert "network-pre.target" in unit["Unit"]["Before"].split()
    assert unit["Unit"]["Wants"] == "network-pre.target"
    assert unit["Unit"]["RequiresMountsFor"].split() == ["/var/lib/pcnc", "/sys/fs/bpf"]
    assert (unit["Unit"]["DefaultDependencies"], unit["Unit"]["Conflicts"]) == ("no", "shutdown.target")
    assert "shutdown.target" in unit["Unit"]["Before"].split()
    assert (unit["Service"]["Type"], unit["Service"]["RemainAfterExit"]) == ("oneshot", "yes")
    assert unit["Service"]["ExecStart"].endswith(" restore --all --wait 10")
    assert unit["Service"]["ExecStop"].endswith(" save --all")
    assert unit["Install"]["WantedBy"] == "sysinit.target"


def test_the_late_one_runs_behind_the_network_and_waits() -> None:
    unit = sections(unit_text(late=True))
    assert unit["Unit"]["After"].split() == ["network.target", "pcnc.service"]
    assert "Before" not in unit["Unit"]
    assert unit["Service"]["ExecStart"].endswith(" restore --all --wait 30")
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert sections(unit_text(late=True, wait=0))["Service"]["ExecStart"].endswith(" restore --all")


def test_it_calls_the_pcnc_that_printed_it_and_looks_where_that_looks() -> None:
    printed = pcnc("unit", changed={"PCNC_STATE": '/srv/100% "records"', "PCNC_RUN": "", "PCNC_BPFFS": ""}).check().output
    unit = sections(printed)
    command = unit["Service"]["ExecStart"].split()[0]
    assert Path(command).exists()
    assert Path(command).parent == Path(sys.executable).parent
    assert unit["Service"]["Environment"] == r'"PCNC_STATE=/srv/100%% \"records\""'


def test_systemd_takes_it(tmp_path: Path) -> None:
    """Where there is no systemd the other tests have to do: they read the same text."""
    analyze = shutil.which("systemd-analyze")
    units = {"pcnc.service": unit_text(), "pcnc-late.service": unit_text(late=True)}
    for name, text in units.items():
        (tmp_path / name).write_text(text)
        assert text.count("[Unit]") == text.count("[Service]") == text.count("[Install]") == 1
    if analyze is not None:
        verified = subprocess.run(
            [analyze, "verify", *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True, check=False
        )
        assert (verified.returncode, verified.stderr) == (0, "")
