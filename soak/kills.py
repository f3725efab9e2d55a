"""SIGKILL before each system call of each command that changes anything, and before others drawn at random, under traffic.

After each: the gate does what the old version does, or the new one; `show` works; another command works and tidies up; and once
it is unloaded, nothing is left.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.lab import Lab
from soak.bounds import Bound, at_least, exactly
from soak.interception import Call, Listener
from soak.proving_ground import COMMANDS, NAME, Arguments, Command, ProvingGround, uncivil
from soak.scene import OPEN, UNLOADED, Both, version

AT_ITS_END = "(at its end)"


@dataclass(frozen=True, slots=True)
class Position:
    """Before which call a command dies: the n-th of those that change something, or of all."""

    command: Command
    number: int
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A command that was killed: before which call, what the gate did then ("old", "new" or "between"), and faults.

    `violations` are of packets; `refusals` of commands that should have worked; `residue` what was left.
    """

    command: str
    call: str
    number: int
    outcome: str
    violations: tuple[str, ...]
    refusals: tuple[str, ...]
    residue: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.violations, *self.refusals, *self.residue)


def count_calls(ground: ProvingGround, command: Command, *, everything: bool = False) -> tuple[str, ...]:
    """The calls of a command that runs to its end, those that change something or all of them."""
    names: list[str] = []

    def note(listener: Listener, call: Call) -> None:
        names.append(call.name)
        listener.allow(call)

    ground.prepare(command)
    ended, faults = ground.watched(command, note, everything=everything)
    if ended.status or faults:
        raise RuntimeError(f"`pcnc {' '.join(command.arguments)}`, not killed: {ended.words}{'; '.join(faults)}")
    ground.driver.run("unload", NAME)
    return tuple(names)


def kill_at(ground: ProvingGround, position: Position) -> Death:
    """Kills a command before a call, and looks."""
    command, killed, seen = position.command, "", 0

    def decide(listener: Listener, call: Call) -> None:
        nonlocal seen, killed
        seen += 1
        if seen == position.number:
            killed = call.name
            os.kill(call.pid, signal.SIGKILL)
        else:
            listener.allow(call)

    ground.prepare(command)
    ended, violations = ground.watched(command, decide, everything=position.everything)
    if not killed and ended.status:
        violations.append(f"not killed, but {ended.words}")
    looks, faults = ground.scene.looks(command.looks)
    violations += faults
    refusals = _show(ground, command)
    following = command.others[position.number % len(command.others)]
    refusals += _try(ground, following, refused_if=_may_refuse(command, following, looks))
    residue = ground.untidy()
    if following[0] != "unload":
        violations += [f"after `{following[0]}`: {fault}" for fault in ground.scene.looks(_may_follow(following))[1]]
    refusals += _try(ground, ("unload", NAME), refused_if="not-loaded" if following[0] == "unload" else "")
    residue += ground.residue()
    if violations or refusals or residue:
        ground.clean()
    outcome = {"0": "old", "1": "new"}.get(looks, "between")
    return Death(command.name, killed or AT_ITS_END, position.number, outcome, tuple(violations), tuple(refusals), tuple(residue))


def _show(ground: ProvingGround, command: Command) -> list[str]:
    done = ground.driver.run("show", NAME)
    faults = uncivil(done)
    # While it is loaded or unloaded, a service is not there for `show`; in between two versions it must be.
    comes_or_goes = UNLOADED in command.looks
    if done.status and not (comes_or_goes and "error[not-loaded]" in done.errors):
        faults.append(f"`show`: {done.words}")
    return faults


def _may_refuse(command: Command, following: Arguments, looks: str) -> str:
    """The problem that the next command may tell, because the one before was, or was not, done."""
    there = command.looks[int(looks)] != UNLOADED if looks in "01" else None
    match following[0]:
        case "load" if there is not False:
            return "name-in-use"
        case "unload" if there is not True:
            return "not-loaded"
        case _:
            return ""


def _try(ground: ProvingGround, arguments: Arguments, refused_if: str) -> list[str]:
    done = ground.driver.run(*arguments)
    faults = uncivil(done)
    if done.status and not (refused_if and f"error[{refused_if}]" in done.errors):
        faults.append(f"`pcnc {' '.join(arguments)}`: {done.words}")
    return faults


def _may_follow(following: Arguments) -> tuple[Both, ...]:
    """What the gate may do after a command that followed a killed one."""
    if "narrow.pcn" in following:
        return (version(3, egress=False),)
    numbers = {"swap": (2,), "load": (1,)}.get(following[0], (1, 2))
    marks = (2,) if "replace" in following else (0, 1, 2)
    without = (version(3, egress=False), Both(OPEN, version(1).egress)) if following[0] in ("rules", "rollback") else ()
    return (*(version(number, mark) for number in numbers for mark in marks), *without)


# ---- which


def every_call(ground: ProvingGround, command: Command) -> list[Position]:
    """Before each call of a command that changes something, and at its end."""
    calls = count_calls(ground, command)
    numbers = range(1, len(calls) + 2)
    if command.only_netlink:
        sends = [number for number, call in enumerate(calls, start=1) if call.startswith("send")]
        numbers = range(sends[0], sends[-1] + 3)
    return [Position(command, number) for number in numbers]


def drawn_calls(ground: ProvingGround, seed: int, count: int, commands: Sequence[Command] = COMMANDS) -> list[Position]:
    """Before any calls at all, drawn from those of all commands."""
    found = []
    for command in commands:
        total = len(count_calls(ground, command, everything=True))
        found += [Position(command, number, everything=True) for number in range(1, total + 1)]
    return random.Random(seed).sample(found, count)


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of many deaths. `seed`: of those that were drawn."""

    seed: int
    drawn: int
    seconds: float
    deaths: tuple[Death, ...]


def measure_kills(show: Callable[[str], None], seed: int, drawn: int = 200) -> Killed:
    """Before each call that changes something, and before as many others as are `drawn`."""
    began = time.perf_counter()
    with Lab() as lab, ProvingGround(lab) as ground:
        positions = []
        for command in COMMANDS:
            show(f"counting the calls of {command.name}")
            ground.warm_up(command)
            positions += every_call(ground, command)
        positions += drawn_calls(ground, seed, drawn)
        deaths = []
        for position in positions:
            deaths.append(kill_at(ground, position))
            show(bar(len(deaths), len(positions), f"{position.command.name}, {sum(bool(death.faults) for death in deaths)} faults"))
    return Killed(seed, drawn, time.perf_counter() - began, tuple(deaths))


def bar(done: int, total: int, words: str) -> str:
    """A bar in words."""
    filled = done * 24 // total
    return f"{'█' * filled}{'░' * (24 - filled)} {done:,} of {total:,}: {words}"


# ---- for people


def kills_bounds(result: Killed) -> tuple[Bound, ...]:
    """What must hold."""
    deaths = result.deaths
    return (
        at_least("kills", sum(death.call != AT_ITS_END for death in deaths), 500),
        exactly("kills at which a packet met none, a mixture, or was lost", sum(bool(death.violations) for death in deaths)),
        exactly("kills after which a command failed", sum(bool(death.refusals) for death in deaths)),
        exactly("kills of which something was left", sum(bool(death.residue) for death in deaths)),
    )


def kills_table(result: Killed) -> Table:
    """Commands and calls, what the gate did after the kill, and how many faults."""
    caption = (
        f"{result.drawn} of them before any call, drawn with seed {result.seed}; {result.seconds / 60:.0f} minutes. between: one"
        " way the old version, the other way the new one"
    )
    table = Table(
        title="Commands killed before their system calls, under traffic",
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("pcnc …")
    table.add_column("killed before")
    for heading in ("kills", "old", "new", "between", "violations", "refusals", "residue"):
        table.add_column(heading, justify="right", min_width=4)
    groups: dict[tuple[str, str], list[Death]] = {}
    order = {command.name: index for index, command in enumerate(COMMANDS)}
    for death in sorted(result.deaths, key=lambda death: order[death.command]):
        call = "call of another kind" if death.call.startswith("call ") else death.call
        groups.setdefault((death.command, call), []).append(death)
    before = ""
    for (command, call), group in groups.items():
        outcomes = Counter(death.outcome for death in group)
        table.add_row(
            command if command != before else "",
            call,
            str(len(group)),
            *(str(outcomes[each] or "") for each in ("old", "new", "between")),
            *(str(sum(bool(getattr(death, each)) for death in group)) for each in ("violations", "refusals", "residue")),
        )
        before = command
    return table


def faults_in_words(deaths: Iterable[Death], most: int = 20) -> str:
    """The first faults, each with where it was."""
    lines = [
        f"`pcnc {death.command}` killed before its call {death.number}, {death.call}: {fault}"
        for death in deaths
        for fault in death.faults
    ]
    return "\n".join(lines[:most])
