"""SIGKILL before each system call of each command that changes anything, and before others drawn at random, under traffic.

After each: the gate does what the old version does, or the new one; `show` works; another command works and tidies up; and once
it is unloaded, nothing is left.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from soak.interception import Call, Listener
from soak.proving_ground import COMMANDS, NAME, Arguments, Command, ProvingGround, uncivil
from soak.scene import UNLOADED, Both, version


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
    return Death(command.name, killed or "(its end)", position.number, outcome, tuple(violations), tuple(refusals), tuple(residue))


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
    numbers = {"swap": (2,), "load": (1,)}.get(following[0], (1, 2))
    marks = (2,) if "replace" in following else (0, 1, 2)
    return tuple(version(number, mark) for number in numbers for mark in marks)


# ---- which


def every_call(ground: ProvingGround, commands: Sequence[Command] = COMMANDS) -> Iterator[Position]:
    """Before each call that changes something, and at the end, of each command."""
    for command in commands:
        ground.warm_up(command)
        for number in range(1, len(count_calls(ground, command)) + 2):
            yield Position(command, number)


def drawn_calls(ground: ProvingGround, dice: random.Random, count: int, commands: Sequence[Command] = COMMANDS) -> list[Position]:
    """Before any calls at all, drawn from those of all commands."""
    found = []
    for command in commands:
        ground.warm_up(command)
        total = len(count_calls(ground, command, everything=True))
        found += [Position(command, number, everything=True) for number in range(1, total + 1)]
    return dice.sample(found, count)


def kill_all(ground: ProvingGround, positions: Iterable[Position]) -> Iterator[Death]:
    """Each in turn."""
    for position in positions:
        yield kill_at(ground, position)


# ---- for people


def kills_table(deaths: Sequence[Death], title: str) -> Table:
    """Commands and calls, what came of it, and how many faults."""
    table = Table(title=title, title_justify="left")
    table.add_column("pcnc …")
    table.add_column("killed before")
    for heading in ("kills", "old", "new", "between", "violations", "refusals", "residue"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str], list[Death]] = {}
    for death in deaths:
        groups.setdefault((death.command, death.call), []).append(death)
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
