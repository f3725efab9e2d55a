"""Where the machine refuses, or somebody presses Ctrl-C: a clear word, a status, and what was running is as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcnc_runtime.attach import attach_xdp, detach_xdp, xdp_attachment
from pcnc_runtime.operations import loaded_names
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType
from pcnc_runtime.state import place_of
from tests.command_line import EXAMPLES, Done, ended, environment, no_compiler, pcnc, start
from tests.live_service import FIREWALL, Wire, new_name, traces, udp, with_rules
from tests.loaded_by_command import Service, loaded

pytestmark = [pytest.mark.kernel, pytest.mark.clang]
SOURCE = EXAMPLES / "firewall.pcn"
BLOCKED, FREE = udp(source="10.0.0.1"), udp(source="11.0.0.1")


@pytest.fixture
def firewall(wire: Wire, tmp_path: Path) -> Iterator[Service]:
    """A firewall that blocks one network."""
    path = tmp_path / "firewall.pcn"
    path.write_text(FIREWALL)
    with loaded(wire, path) as service:
        service.rules("sources", "add", "10.0.0.0/8 -> drop").check()
        yield service


def works(service: Service) -> bool:
    """Whether the firewall does what it was told."""
    return service.wire.passes(FREE) and not service.wire.passes(BLOCKED)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another version of the firewall."""
    path = tmp_path / "other.pcn"
    path.write_text(with_rules(FIREWALL, "destinations", "198.51.100.0/24 -> drop"))
    return path


# ---- devices and names


def test_a_device_that_does_not_exist(wire: Wire) -> None:
    name = new_name()
    done = pcnc("load", SOURCE, "--name", name, "--dev", "eth0", "--dev", "eth9", within=wire.right)
    assert "`eth9`" in done.refused("no-such-device")
    assert name not in loaded_names()
    with wire.right.entered():
        assert xdp_attachment("eth0") is None


def test_a_device_that_carries_another_program(wire: Wire) -> None:
    with wire.right.entered(), load_minimal(ProgramType.XDP) as program:
        attach_xdp("eth0", program.fd)
        before = xdp_attachment("eth0")
        done = pcnc("load", SOURCE, "--name", new_name(), "--dev", "eth0", within=wire.right)
        assert "`pcnc_probe`" in done.refused("device-carries-xdp")
        assert xdp_attachment("eth0") == before
        detach_xdp("eth0", program.fd)


def test_a_name_in_use(firewall: Service) -> None:
    before = firewall.show()
    done = pcnc("load", SOURCE, "--name", firewall.name, "--dev", "eth0", within=firewall.wire.right)
    assert f"pcnc swap {firewall.name}" in done.refused("name-in-use")
    assert firewall.show() == before
    assert works(firewall)


@pytest.mark.parametrize("name", ["", "7up", "a/b", "..", "x" * 33])
def test_a_name_that_is_none(name: str) -> None:
    pcnc("load", SOURCE, "--name", name, "--dev", "lo").refused("bad-name")


@pytest.mark.parametrize("command", ["unload", "rollback", "show", "stats"])
def test_what_is_not_loaded(command: str) -> None:
    pcnc(command, "nosuch").refused("not-loaded")


# ---- privilege


WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
CAN_BE_NOBODY = subprocess.run(
    [*NOBODY, sys.executable, "-c", "import pcnc.cli, lark"], env=environment(), capture_output=True, cwd="/", check=False
)
PEOPLE = [WITHOUT_CAPABILITIES, NOBODY] if CAN_BE_NOBODY.returncode == 0 else [WITHOUT_CAPABILITIES]
"""Where Python lies in a home folder, nobody else can run it."""


@pytest.mark.parametrize("prefix", PEOPLE, ids=lambda prefix: prefix[1])
def test_without_privilege_nothing_is_done(firewall: Service, other: Path, tmp_path: Path, prefix: tuple[str, ...]) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    before = firewall.show()
    commands: list[tuple[str | Path, ...]] = [
        ("load", SOURCE, "--name", new_name(), "--dev", "lo"),
        ("swap", firewall.name, other),
        ("rules", firewall.name, "sources", "add", "12.0.0.0/8 -> drop"),
        ("rollback", firewall.name),
        ("unload", firewall.name),
    ]
    for command in commands:
        done = pcnc(*command, prefix=prefix).is_civil()
        assert done.status == 1, command
        assert "error[no-privilege]" in done.errors, done.errors
    done = pcnc("probe", "--json", prefix=prefix).is_civil()
    assert done.status == 1
    assert not any(fact["works"] for fact in done.json if fact["feature"] in ("XDP programs", "pins"))
    pcnc("check", SOURCE, prefix=prefix).check()
    done = pcnc("test", SOURCE, prefix=prefix).check()
    assert "not tried in the kernel" in done.output
    assert firewall.show() == before
    assert works(firewall)


# ---- a kernel that refuses


def under_strace(injection: str, *arguments: str | Path, service: Service) -> Done:
    """Runs a command of which the kernel refuses some system calls; `when=3+` is the third and all after it."""
    strace = shutil.which("strace")
    assert strace is not None
    call = injection.partition(":")[0]
    prefix = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={injection}")
    return pcnc(*arguments, within=service.wire.right, prefix=prefix)


REFUSALS = [f"bpf:error={error}:when={when}" for error in ("EPERM", "EINVAL") for when in ("1+", "4", "9", "14+", "22+", "30+")]


@pytest.mark.parametrize("injection", REFUSALS)
def test_a_kernel_that_refuses_leaves_what_runs(firewall: Service, other: Path, injection: str) -> None:
    before = firewall.show()
    done = under_strace(injection, "swap", firewall.name, other, service=firewall).is_civil()
    if done.status == 0:
        assert firewall.show()["generation"] > before["generation"]
    else:
        assert done.status == 1
        assert "error[" in done.errors
        after = firewall.show()
        assert (after["generation"], after["tables"], after["chains"]) == (before["generation"], before["tables"], before["chains"])
    assert works(firewall)
    firewall.rules("sources", "add", "12.0.0.0/8 -> drop").check()


def test_refusals_do_refuse(firewall: Service, other: Path) -> None:
    said = under_strace("bpf:error=EPERM:when=1+", "swap", firewall.name, other, service=firewall).refused("no-privilege")
    assert "EPERM" in said
    said = under_strace("bpf:error=EINVAL:when=1+", "swap", firewall.name, other, service=firewall).errors
    assert "EINVAL" in said


@pytest.mark.parametrize(
    "injection", ["bpf:error=EPERM:when=12+", "bpf:error=EINVAL:when=25+", "sendto:error=EPERM", "mkdir:error=ENOSPC"]
)
def test_a_load_that_fails_leaves_nothing(wire: Wire, injection: str) -> None:
    name = new_name()
    with wire.right.entered():
        done = under_strace(injection, "load", SOURCE, "--name", name, "--dev", "eth0", service=Service(wire, name)).is_civil()
        if done.status == 0:
            pcnc("unload", name).check()
        assert "error[" in done.errors
        assert xdp_attachment("eth0") is None
    assert name not in loaded_names()
    # Where even taking back was refused, what is written down of it is enough for the next command.
    pcnc("unload", name).is_civil()
    place = place_of(name)
    assert not place.pins.exists()
    assert not place.folder.exists()


def test_a_full_disk_leaves_what_runs(firewall: Service, other: Path) -> None:
    before = firewall.show()
    done = under_strace("write:error=ENOSPC:when=1+", "swap", firewall.name, other, service=firewall)
    assert done.status == 1
    done = under_strace("fsync:error=ENOSPC", "swap", firewall.name, other, service=firewall).is_civil()
    assert done.status == 1
    assert firewall.show() == before
    assert works(firewall)


def test_a_swap_without_clang(firewall: Service, other: Path, tmp_path: Path) -> None:
    before = firewall.show()
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ("swap", firewall.name, other)
    pcnc(*command, changed=no_compiler(empty)).refused("no-clang")
    assert firewall.show() == before
    assert works(firewall)


# ---- Ctrl-C


DELAYS = [0.0, 0.01, 0.02, 0.04, 0.07, 0.11, 0.16, 0.25, 0.4]
"""Seconds after the runtime was loaded."""


def interrupted(*arguments: str | Path, wire: Wire, delay: float) -> Done:
    """Starts a command and presses Ctrl-C once it has begun its work, which is when it has opened libbpf."""
    process = start(*arguments, within=wire.right)
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 30
    while process.poll() is None and "libbpf" not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    return ended(process).is_civil()


@pytest.mark.parametrize("delay", DELAYS)
def test_ctrl_c_in_the_middle_of_a_load(wire: Wire, delay: float) -> None:
    name = new_name()
    done = interrupted("load", SOURCE, "--name", name, "--dev", "eth0", wire=wire, delay=delay)
    loaded_now = name in loaded_names()
    try:
        assert done.status in (0, 130)
        if done.status == 0:
            assert loaded_now
        elif loaded_now:
            assert "the change was made already" in done.errors
        else:
            assert "interrupted" in done.errors
            with wire.right.entered():
                assert xdp_attachment("eth0") is None
        assert wire.passes(FREE)
    finally:
        if loaded_now:
            left = traces(name)
            pcnc("unload", name).check()
            assert left.remaining() == []


@pytest.mark.parametrize("delay", DELAYS)
def test_ctrl_c_in_the_middle_of_a_swap(firewall: Service, other: Path, delay: float) -> None:
    before = firewall.show()
    done = interrupted("swap", firewall.name, other, wire=firewall.wire, delay=delay)
    after = firewall.show()
    assert done.status in (0, 130)
    if done.status == 0 or "the change was made already" in done.errors:
        assert after["generation"] > before["generation"]
        assert firewall.listed("destinations")
    else:
        assert "nothing was changed" in done.errors
        assert after == before
    assert works(firewall)
    firewall.rules("sources", "add", "12.0.0.0/8 -> drop").check()
