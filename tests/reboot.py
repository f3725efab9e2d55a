"""Reboots without a reboot: a machine of namespaces that ends and begins anew, and what a reboot leaves of one service."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from pcnc_runtime.attachments import detach_all
from pcnc_runtime.changes import Restored
from pcnc_runtime.pins import remove_tree
from pcnc_runtime.record_files import read_json, write_json
from pcnc_runtime.state import place_of
from tests.command_line import COMMAND, ROOT, Done, environment


class Machine:
    """Processes, mounts, network and bpffs of its own, and a boot id; all of it ends with it, but for `folder`, its disk."""

    def __init__(self, folder: Path) -> None:
        self._disk = folder / "disk"
        boot = folder / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        own = (
            "mount -t tmpfs run /run && mkdir /run/netns && mount -t bpf bpf /sys/fs/bpf && "
            f"mount --bind {boot} /proc/sys/kernel/random/boot_id && ip link set lo up"
        )
        begin = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", f"{own} && echo ready && exec cat"]
        self._owner = subprocess.Popen(begin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._owner.stdout is not None
        assert self._owner.stdout.readline() == "ready\n"
        children = Path(f"/proc/{self._owner.pid}/task/{self._owner.pid}/children").read_text().split()
        self._enter = ["nsenter", f"--target={children[0]}", "--net", "--mount", "--pid", f"--wd={ROOT}"]

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.go_down()

    def go_down(self) -> None:
        """Ends it, and everything in it."""
        self._owner.communicate()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in environment().items() if not name.startswith("PCNC_")}
        return {**kept, "PCNC_STATE": str(self._disk)}

    def run(self, command: str) -> Done:
        """A command line of the shell, within."""
        done = subprocess.run(
            [*self._enter, "sh", "-c", command], env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def pcnc(self, *arguments: str | Path, before: Sequence[str] = ()) -> Done:
        """`pcnc`, within, and behind another command."""
        command = [*self._enter, *before, *COMMAND, *map(str, arguments)]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=120, check=False)
        return Done(done.returncode, done.stdout, done.stderr).is_civil()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts `pcnc` within, and returns at once."""
        devnull = subprocess.DEVNULL
        return subprocess.Popen([*self._enter, *COMMAND, *arguments], env=self._environment(), stdout=devnull, stderr=devnull)


EARLIER = "00000000-0000-0000-0000-000000000000"
"""What an earlier start of the machine was named."""


def went_down(name: str) -> None:
    """Leaves of a loaded service what a reboot leaves."""
    place = place_of(name)
    state = place.read()
    assert state is not None
    assert state.settled
    detach_all(state.namespace, state.attachments)
    remove_tree(place.pins)
    written = read_json(place.state)
    write_json(place.state, {**written, "boot": EARLIER})
    for pending in place.folder.glob("pending-*"):
        pending.unlink()


def only(restored: tuple[Restored, ...]) -> Restored:
    """The one service that was to come back."""
    assert len(restored) == 1
    return restored[0]


def failed(restored: Restored) -> str:
    """The name of the problem for which a service did not come back."""
    assert restored.outcome == "failed"
    assert restored.problem is not None
    return restored.problem.name
