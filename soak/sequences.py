"""Random sequences of commands, some of which fail or are killed; once the last has unloaded, the kernel holds nothing of ours.

What is ours is known twice over: by the ids of everything that a command has held at any of its system calls, and by names of
blocks and tables that only this run has, in what `bpftool` lists. So what others load and unload meanwhile is no obstacle.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.lab import Lab
from soak.bounds import Bound, at_least, exactly
from soak.faults import is_tried
from soak.interception import Call, Listener
from soak.kills import bar
from soak.proving_ground import NAME, Arguments, ProvingGround, uncivil
from soak.scene import UNLOADED, gate, version

_KINDS = ("prog", "map", "link", "btf")
_LOADS = (
    ("load", "one.pcn", "--name", NAME, "--dev", "eth0"),
    ("load", "narrow.pcn", "--name", NAME, "--dev", "eth0", "--hook", "tc"),
)
_CHANGES: tuple[Arguments, ...] = (
    ("rules", NAME, "marks", "add", "17 -> mark(1)"),
    ("rules", NAME, "marks", "replace", "17 -> mark(2)"),
    ("rules", NAME, "sources", "add", "203.0.113.0/24 -> drop"),
    ("rules", NAME, "sources", "delete", "203.0.113.0/24"),
    ("rules", NAME, "nowhere", "add", "17 -> mark(1)"),
    ("rules", NAME, "sources", "add", "no address -> drop"),
    ("apply", NAME, "good.changes"),
    ("apply", NAME, "bad.changes"),
    ("swap", NAME, "one.pcn"),
    ("swap", NAME, "two.pcn"),
    ("swap", NAME, "narrow.pcn"),
    ("swap", NAME, "broken.pcn"),
    ("set", NAME, "lowest=1"),
    ("set", NAME, "lowest=300"),
    ("rollback", NAME),
    ("restore", NAME),
    *_LOADS,
)
_FILES = {
    "good.changes": "add sources 198.51.100.0/24 -> drop\nreplace marks {\n    17 -> mark(2)\n}\n",
    "bad.changes": "add sources 198.51.100.0/24 -> drop\nadd marks 300 -> mark(1)\n",
    "broken.pcn": gate(1).replace("chain ingress {", "chain ingress { nothing;"),
}


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a random sequence came to. `left`: what was there of ours after `unload`; `faults` what was wrong on the way."""

    seed: int
    seconds: float
    worked: int
    refused: int
    failed: int
    killed: int
    unloads: int
    objects: int
    left: tuple[str, ...]
    faults: tuple[str, ...]


def bpftool_list() -> dict[str, dict[int, Any]]:
    """What bpftool lists, by kind and id."""
    found: dict[str, dict[int, Any]] = {}
    for kind in _KINDS:
        words = subprocess.run(["bpftool", "-j", kind, "list"], capture_output=True, text=True, check=True).stdout
        found[kind] = {each["id"]: each for each in json.loads(words or "[]")}
    return found


def left_in_kernel(ground: ProvingGround, before: dict[str, dict[int, Any]]) -> list[str]:
    """What of ours bpftool lists and did not list before; the kernel frees with a delay.

    bpftool opens what it lists, and the kernel never frees a PROG_ARRAY that is opened while it is on its way out: so after an
    `unload` it is first waited, by ids alone, until all is gone.
    """
    deadline = time.monotonic() + 5
    while True:
        now = bpftool_list()
        found = [
            f"{kind} {id} {each.get('name', '')}"
            for kind, listed in now.items()
            for id, each in listed.items()
            if id not in before[kind] and (id in ground.held.ids.get(kind, ()) or each.get("name", "").startswith(ground.names))
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


class _Player:
    """Plays one sequence."""

    def __init__(self, ground: ProvingGround, seed: int) -> None:
        self._ground, self._dice = ground, random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []
        self.left: list[str] = []
        for name, text in _FILES.items():
            (ground.folder / name).write_text(text)

    def play(self, arguments: Arguments) -> None:
        """Runs a command; one in eight gets an error at some call, one in eight is killed there."""
        fate = self._dice.choice(("fails", "killed", *["runs"] * 6))
        at, code, seen, hit = self._dice.randrange(1, 200), self._dice.choice((errno.ENOMEM, errno.ENOSPC, errno.EPERM)), 0, False

        def decide(listener: Listener, call: Call) -> None:
            nonlocal seen, hit
            seen += is_tried(call)
            self._ground.held.note(call)
            if fate == "runs" or seen != at or hit or not is_tried(call):
                listener.allow(call)
                return
            hit = True
            if fate == "killed":
                os.kill(call.pid, signal.SIGKILL)
            else:
                listener.fail(call, code)

        ended = self._ground.driver.watch("changes", decide, *arguments)
        words = f"`pcnc {' '.join(arguments)}`"
        if ended.status == -signal.SIGKILL and hit:
            self.outcomes["killed"] += 1
        else:
            self.outcomes["failed" if hit and ended.status else "refused" if ended.status else "worked"] += 1
            self.faults += [f"{words}: {each}" for each in uncivil(ended)]
        candidates = [
            version(number, mark, egress=egress) for number in (1, 2, 3) for mark in (0, 1, 2) for egress in (True, False)
        ]
        faults = self._ground.scene.looks([UNLOADED, *candidates])[1]
        self.faults += [f"after {words}: {each}" for each in faults]

    def end(self, before: dict[str, dict[int, Any]]) -> None:
        """Unloads, and looks for what is left."""
        self._ground.driver.run("unload", NAME)
        self.outcomes["unloads"] += 1
        left = self._ground.residue() + left_in_kernel(self._ground, before)
        self.left += left
        if left:
            self._ground.clean()


def play_sequence(steps: int, seed: int, show: Callable[[str], None]) -> Sequence:
    """Plays so many commands; about every tenth is an `unload`, after which nothing may be left."""
    began = time.perf_counter()
    with Lab() as lab, ProvingGround(lab) as ground:
        before, dice = bpftool_list(), random.Random(seed)
        player = _Player(ground, seed)
        player.play(_LOADS[0])
        for step in range(steps):
            if dice.random() < 0.1:
                player.end(before)
                player.play(dice.choice(_LOADS))
            player.play(dice.choice(_CHANGES))
            show(bar(step + 1, steps, f"{len(player.faults) + len(player.left)} faults"))
        player.end(before)
        objects = sum(len(ids) for ids in ground.held.ids.values())
    outcomes = player.outcomes
    return Sequence(
        seed,
        time.perf_counter() - began,
        outcomes["worked"],
        outcomes["refused"],
        outcomes["failed"],
        outcomes["killed"],
        outcomes["unloads"],
        objects,
        tuple(player.left),
        tuple(player.faults),
    )


def sequence_bounds(result: Sequence) -> tuple[Bound, ...]:
    """What must hold."""
    return (
        Bound("commands that worked", f"{result.worked:,}"),
        Bound("refused", f"{result.refused:,}"),
        Bound("failed by an error at a system call", f"{result.failed:,}"),
        Bound("killed", f"{result.killed:,}"),
        at_least("unloads", result.unloads, 10),
        Bound("programs, maps and links that they had", f"{result.objects:,}"),
        exactly("left after an unload", len(result.left)),
        exactly("wrong words, or packets that met a mixture", len(result.faults)),
    )
