"""Two commands at once on the same name: one waits, and says for whom; what a killed one held is free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.locks import holder, telling
from pcnc_runtime.state import locked, place_of, run_folder
from tests.command_line import ended, environment, start
from tests.live_service import FIREWALL, Wire, loaded, new_name
from tests.test_operations_swap import VERSION


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))


@contextmanager
def held(name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a service until it is killed."""
    code = f"import time; from pcnc_runtime.state import locked\nwith locked({name!r}): print('held', flush=True); time.sleep(100)"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_who_waits_hears_after_a_second_for_whom_and_once(tmp_path: Path) -> None:
    said: list[str] = []
    with held("fw") as other:
        before = telling.set(said.append)
        try:
            with pytest.raises(RuntimeProblem) as caught, locked("fw", wait=0.5):
                pass
            assert said == []
            with pytest.raises(RuntimeProblem) as caught, locked("fw", wait=1.3):
                pass
        finally:
            telling.reset(before)
        assert caught.value.name == "busy"
        assert f"pid {other.pid}, `-c import time" in caught.value.message
        assert len(said) == 1
        assert said[0].startswith(f"another command is changing `fw` (pid {other.pid}, `")
        assert said[0].endswith("`); waiting")
        other.kill()
        other.wait()
        with locked("fw", wait=0.2):
            assert holder(run_folder() / "fw.lock").startswith(f"pid {os.getpid()}")
    assert not run_folder().exists(), "nothing is loaded under the name, so the lock's file goes"


@pytest.mark.kernel
def test_a_command_that_waits_says_so_and_goes_on_when_the_other_is_killed(wire: Wire) -> None:
    with loaded(wire, VERSION) as name:
        with held(name) as other:
            waits = start("set", name, "version=77")
            assert waits.stderr is not None
            said = waits.stderr.readline().decode()
            assert waits.poll() is None
            other.send_signal(signal.SIGKILL)
            done = ended(waits).check()
        assert said.startswith(f"pcnc: another command is changing `{name}` (pid {other.pid}")
        assert done.errors == ""
        assert "generation 2 is in force" in done.output


@pytest.mark.kernel
def test_a_load_that_is_interrupted_leaves_no_lock(wire: Wire, tmp_path: Path) -> None:
    name, source = new_name(), tmp_path / "fw.pcn"
    source.write_text(FIREWALL)
    interrupted = 0
    for moment in range(7):
        loads = start("load", source, "--name", name, "--dev", "eth0", within=wire.right)
        time.sleep(0.2 + 0.1 * moment)
        loads.send_signal(signal.SIGINT)
        done = ended(loads)
        if done.status == 0:
            ended(start("unload", name)).check()
        else:
            interrupted += 1
        assert not place_of(name).folder.exists()
        assert not run_folder().exists()
    assert interrupted
