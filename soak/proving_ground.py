"""Where commands die or fail and are looked at: a gate with traffic, records and bpffs of their own, and what may remain.

bpffs is a mount of its own, so whatever is pinned in it is ours; BPF objects are told by their ids, which are read from the
descriptors of a command at each of its system calls. So nothing of others is taken for ours, nor ours for theirs.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.lab import Lab
from pcnc_runtime.libbpf import library
from pcnc_runtime.pins import remove_tree
from pcnc_runtime.records import read_state
from soak.driver import Driver, Ended
from soak.interception import Call, Listener
from soak.scene import OPEN, OWN_NAMES, UNLOADED, Both, Counted, Scene, gate, version

NAME = "gate"
_PATIENCE = 5.0
"""Seconds after which what the kernel has not freed counts as left behind; it frees with a delay."""

_LONGEST_NAME = 15
"""Letters of a name that the kernel keeps."""

Arguments = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command under test: what comes before it, its arguments, and what the gate does before and after.

    Before it come commands of ours, and of `ip`.

    `others`: commands that must work after it died, one of which is tried each time. `lossless`: it loses no packet; putting
    XDP on a device and taking it off does, in the driver. `only_netlink`: of its calls only those that send to netlink, and
    what follows each, are not those of another command.
    """

    name: str
    before: tuple[Arguments, ...]
    arguments: Arguments
    old: Both
    new: Both
    others: tuple[Arguments, ...]
    lossless: bool = True
    only_netlink: bool = False

    @property
    def looks(self) -> tuple[Both, Both]:
        """Of the old and of the new version."""
        return (self.old, self.new)


_LOAD = ("load", "one.pcn", "--name", NAME, "--dev", "eth0")
_LOAD_TC = (*_LOAD, "--hook", "tc")
_MARK = ("rules", NAME, "marks", "add", "17 -> mark(1)")
_MARK_2 = ("rules", NAME, "marks", "replace", "17 -> mark(2)")
_SWAP = ("swap", NAME, "two.pcn")
_NARROW, _WIDE = ("swap", NAME, "narrow.pcn"), ("swap", NAME, "two.pcn")
_ROLLBACK, _UNLOAD = ("rollback", NAME), ("unload", NAME)
_ADD = ("rules", NAME, "sources", "add", "203.0.113.0/24 -> drop")
_OFF, _RESTORE = ("ip", "link", "set", "eth0", "xdp", "off"), ("restore", NAME)
_HALF_OFF = Both(OPEN, version(1).egress)
"""Somebody has taken the program off that looks at what comes in."""
_LOADED = (_LOAD, _MARK)
_CHANGES = (_SWAP, _ADD, _UNLOAD)

COMMANDS = (
    Command("load", (), _LOAD, UNLOADED, version(1, 0), (_LOAD, _UNLOAD), lossless=False),
    Command("load --hook tc", (), _LOAD_TC, UNLOADED, version(1, 0), (_UNLOAD, _LOAD), lossless=False, only_netlink=True),
    Command("rules", _LOADED, _MARK_2, version(1), version(1, 2), (_MARK_2, *_CHANGES)),
    Command("swap", _LOADED, _SWAP, version(1), version(2), (*_CHANGES, _ROLLBACK)),
    Command("swap, a chain goes", _LOADED, _NARROW, version(1), version(3, egress=False), (_NARROW, *_CHANGES), lossless=False),
    Command(
        "swap, a chain comes", (*_LOADED, _NARROW), _WIDE, version(3, egress=False), version(2), (*_CHANGES, _WIDE), lossless=False
    ),
    Command("rollback", (*_LOADED, _SWAP), _ROLLBACK, version(2), version(1), (*_CHANGES, _ROLLBACK)),
    Command("restore", (*_LOADED, _OFF), _RESTORE, _HALF_OFF, version(1), (_RESTORE, _UNLOAD, _ADD), lossless=False),
    Command("unload", _LOADED, _UNLOAD, version(1), UNLOADED, (_UNLOAD, _LOAD), lossless=False),
    Command(
        "unload --hook tc", (_LOAD_TC, _MARK), _UNLOAD, version(1), UNLOADED, (_LOAD, _UNLOAD), lossless=False, only_netlink=True
    ),
)
"""Every command whose death is looked at."""


@dataclass
class Held:
    """The ids of BPF objects that commands under watch have held, by kind."""

    ids: dict[str, set[int]] = field(default_factory=dict)

    def note(self, call: Call) -> None:
        """Takes in what a process holds at a call."""
        for kind, id in call.objects_held():
            self.ids.setdefault(kind, set()).add(id)

    def remaining(self) -> list[str]:
        """What of it is still in the kernel."""
        deadline = time.monotonic() + _PATIENCE
        while (found := self._look()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def _look(self) -> list[str]:
        return [f"{kind} {id}" for kind, ids in self.ids.items() for id in sorted(ids & ids_in_kernel(kind))]


def ids_in_kernel(kind: str) -> set[int]:
    """The ids of all objects of a kind ("prog", "map", "link", "btf"); none is opened, which would be a reference."""
    found: set[int] = set()
    id = ctypes.c_uint32(0)
    following = getattr(library(), f"bpf_{kind}_get_next_id")
    while following(id, ctypes.byref(id)) == 0:
        found.add(id.value)
    return found


class ProvingGround:
    """A gate, its traffic, and a driver of commands, in a folder of their own."""

    def __init__(self, lab: Lab) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pcnc-proving-"))
        self.records, self.bpffs = self.folder / "records", self.folder / "bpffs"
        self.state_folder = self.records / "state"
        self.temporary, self.cache = self.folder / "tmp", self.folder / "cache"
        for made in (self.records, self.bpffs, self.temporary, self.cache):
            made.mkdir()
        tag = str(os.getpid())
        self.names = tuple(f"{name}{tag}"[:_LONGEST_NAME] for name in OWN_NAMES)
        texts = {"one": gate(1, tag=tag), "two": gate(2, tag=tag), "narrow": gate(3, egress=False, tag=tag)}
        for name, text in texts.items():
            (self.folder / f"{name}.pcn").write_text(text)
        subprocess.run(["mount", "-t", "bpf", "bpf", str(self.bpffs)], check=True)
        self.scene = Scene(lab)
        variables = {
            "PCNC_RUN": str(self.records / "run"),
            "PCNC_STATE": str(self.state_folder),
            "PCNC_BPFFS": str(self.bpffs),
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.cache),
        }
        self.driver = Driver(self.scene.gated, variables, self.folder)
        self.held = Held()
        self._cached: set[str] = set()

    def warm_up(self, command: Command) -> None:
        """Runs a command and those before it once, so that everything is compiled."""
        for arguments in (*command.before, command.arguments, *command.others, _LOAD, _SWAP):
            if arguments[0] != "ip":
                self.driver.run(*arguments)
        self.driver.run(*_UNLOAD)
        self._cached = _files_in(self.cache)

    def prepare(self, command: Command) -> None:
        """Brings the gate to where a command begins. RuntimeError where that fails."""
        for arguments in command.before:
            if arguments[0] == "ip":
                self.scene.gated.run(*arguments)
                continue
            done = self.driver.run(*arguments)
            if done.status:
                raise RuntimeError(f"`pcnc {' '.join(arguments)}`: {done.words}")

    def watched(
        self,
        command: Command,
        decide: Callable[[Listener, Call], None],
        *,
        everything: bool = False,
        which: Callable[[Call], bool] = lambda call: call.changes,
    ) -> tuple[Ended, list[str]]:
        """Runs a command under traffic; and what was wrong. Each call that changes something (or `which`, or all) goes to `decide`.

        Before each such call packets are sent, and judged: what the gate does between two calls does not depend on luck.
        """

        def look_and_decide(listener: Listener, call: Call) -> None:
            if everything or which(call):
                self.held.note(call)
                self.scene.probe()
                decide(listener, call)
            else:
                listener.allow(call)

        before = self.scene.count()
        self.scene.start()
        try:
            ended = self.driver.watch("everything" if everything else "changes", look_and_decide, *command.arguments)
        finally:
            self.scene.pause()
        now = self.scene.count()
        faults = [
            f"{way}: {wrong}"
            for way, counted in zip(("ingress", "egress"), _added(before, now), strict=True)
            for wrong in counted.wrong(*(getattr(look, way) for look in command.looks))
        ]
        if command.lossless:
            faults += [
                f"{way}: {counted.sent - counted.arrived} of {counted.sent} packets lost"
                for way, counted in zip(("ingress", "egress"), _added(before, now), strict=True)
                if counted.sent != counted.arrived and getattr(command.old, way) != OPEN
            ]
        return ended, faults

    # ---- what is there

    def untidy(self) -> list[str]:
        """What a loaded gate has beside what it needs."""
        found = [f"left: {path}" for path in _files_in(self.records) if _is_beside(path)]
        records = self.state_folder / NAME
        if not records.exists():
            return found
        found += [f"not settled: {path.name}" for path in records.glob("pending-*")]
        state = read_state(records / "state.json")
        if state is None:
            return [*found, "records without a state"]
        if state.phase != "loaded" or state.target:
            found.append(f"state: {state.phase}, target {state.target}")
        kept = {str(number) for number in state.kept}
        pinned = {path.name.removeprefix("g") for path in (self.bpffs / "pcnc" / NAME).glob("g*")}
        written = {path.stem for path in (records / "generations").iterdir()}
        mentioned = [state.summaries[number] for number in state.kept]
        for what, wanted in (
            ("bundles", {each.bundle for each in mentioned}),
            ("sources", {f"{each.source}.json" for each in mentioned}),
        ):
            if (there := {path.name for path in (records / what).iterdir()}) != wanted:
                found.append(f"{what}: {sorted(there - wanted)} too many, {sorted(wanted - there)} missing")
        for what, there in (("pinned", pinned), ("written down", written)):
            if there != kept:
                found.append(f"generations {sorted(kept)} are kept, {sorted(there)} {what}")
        return found

    def residue(self) -> list[str]:
        """What is left once nothing is loaded: pins, files, locks, what is on the device, BPF objects."""
        # The kernel itself puts two files into each bpffs.
        found = [f"pin {path}" for path in _files_in(self.bpffs) if not path.endswith(".debug")]
        found += [f"file {path}" for path in _files_in(self.records)]
        found += [f"temporary {path}" for path in _files_in(self.temporary)]
        found += [f"in the cache {path}" for path in _files_in(self.cache) - self._cached if _is_beside(path)]
        return found + self.scene.leftovers() + self.held.remaining()

    def clean(self) -> None:
        """Removes what is left, so that one fault is not told again and again."""
        self.driver.run(*_UNLOAD)
        for way in (["ip", "link", "set", "eth0", "xdp", "off"], ["tc", "qdisc", "del", "dev", "eth0", "clsact"]):
            subprocess.run(self.scene.gated.command(*way), capture_output=True, check=False)
        remove_tree(self.bpffs / "pcnc")
        for folder in (self.records, self.temporary):
            shutil.rmtree(folder)
            folder.mkdir()
        self.held = Held()

    def close(self) -> None:
        """Takes everything down."""
        self.clean()
        self.driver.close()
        self.scene.close()
        subprocess.run(["umount", str(self.bpffs)], check=True)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _added(before: Iterable[Counted], now: Iterable[Counted]) -> list[Counted]:
    return [after.since(then) for after, then in zip(now, before, strict=True)]


def _files_in(folder: Path) -> set[str]:
    return {os.path.relpath(path, folder) for path in folder.rglob("*")}


def _is_beside(path: str) -> bool:
    """Whether a path is of what is written beside, until it is whole; of a folder only itself, not all that is in it."""
    return Path(path).name.startswith(".")


def uncivil(ended: Ended) -> list[str]:
    """What a command must not say, or how it must not end."""
    found = [
        f"says {word!r}" for word in ("Traceback", "internal-error", "Exception ignored") if word in ended.output + ended.errors
    ]
    if ended.status not in (0, 1) or (ended.status == 1 and "error[" not in ended.errors):
        found.append(f"ends with {ended.status}")
    return [f"{each}: {ended.words}" for each in found]
