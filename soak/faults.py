"""System calls that fail: each call of each command that changes something, with the errors that it can have.

A command that fails says so in a sentence, ends with 1, and leaves the old version in force; or, where the new one is in force
already, says that. Nothing is left, and the same command works when the call does.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.lab import Lab
from soak.bounds import Bound, at_least, exactly
from soak.driver import Ended
from soak.interception import Call, Listener
from soak.kills import bar
from soak.proving_ground import COMMANDS, NAME, Command, ProvingGround, uncivil
from soak.scene import UNLOADED

ERRORS = {
    "bpf": (errno.ENOMEM, errno.EPERM, errno.ENOSPC, errno.EINVAL, errno.EMFILE),
    "sendto": (errno.ENOBUFS, errno.EPERM),
    "sendmsg": (errno.ENOBUFS, errno.EPERM),
    "write": (errno.ENOSPC, errno.EIO),
    "openat": (errno.ENOSPC, errno.EROFS, errno.EMFILE),
    "mkdir": (errno.ENOSPC, errno.EROFS),
    "rename": (errno.ENOSPC, errno.EROFS),
    "fsync": (errno.EIO,),
    "unlink": (errno.EROFS, errno.EIO),
    "unlinkat": (errno.EROFS,),
    "rmdir": (errno.EROFS, errno.EBUSY),
    "flock": (errno.ENOLCK,),
    "membarrier": (errno.ENOSYS, errno.ENOMEM),
}
"""What is tried, by call."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The n-th call of a command that changes something, or waits for packets to leave, and the error that it gets.

    `onward`: all later calls of its kind get it, too, as when a disk is full.
    """

    command: Command
    number: int
    call: str
    error: int
    onward: bool = False

    @property
    def words(self) -> str:
        """For people."""
        how = "from its" if self.onward else "at its"
        return f"`pcnc {self.command.name}` {how} call {self.number}, {self.call}: {errno.errorcode[self.error]}"


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of it: how the command ended ("worked", "failed, old", "failed, new"), what it said, and faults."""

    command: str
    call: str
    error: str
    outcome: str
    said: str
    faults: tuple[str, ...]


def is_tried(call: Call) -> bool:
    """Whether a call is one of those that are made to fail."""
    return call.kind in ERRORS and (call.changes or call.kind in ("bpf", "membarrier"))


def trials(ground: ProvingGround, command: Command) -> list[Trial]:
    """Every call of a command, with one of its errors in turn (of bpf(2) two); and all of a kind, from its first on."""
    calls: list[tuple[str, str]] = []

    def note(listener: Listener, call: Call) -> None:
        if is_tried(call):
            calls.append((call.name, call.kind))
        listener.allow(call)

    ground.prepare(command)
    ended = ground.driver.watch("changes", note, *command.arguments)
    ground.driver.run("unload", NAME)
    if ended.status:
        raise RuntimeError(ended.words)
    numbered = list(enumerate(calls, start=1))
    if command.only_netlink:
        numbered = [(number, each) for number, each in numbered if each[1].startswith("send")]
    found = [
        Trial(command, number, name, ERRORS[kind][(number + shift) % len(ERRORS[kind])])
        for number, (name, kind) in numbered
        for shift in range(2 if kind == "bpf" else 1)
    ]
    first = {kind: (number, name) for number, (name, kind) in reversed(numbered)}
    return found + [Trial(command, *first[kind], error, onward=True) for kind in first for error in ERRORS[kind]]


class Tries:
    """One command that is made to fail again and again. As long as it leaves the old version, the gate is not loaded anew."""

    def __init__(self, ground: ProvingGround, command: Command) -> None:
        self._ground, self._command = ground, command
        self._prepared = False
        self._before: list[str] = []

    def run(self, trial: Trial) -> Failure:
        """Makes a call fail, and looks."""
        ground, command = self._ground, self._command
        if not self._prepared:
            ground.prepare(command)
            self._before = _files(ground)
            self._prepared = True
        counts: Counter[str] = Counter()

        def decide(listener: Listener, call: Call) -> None:
            if is_tried(call):
                counts["all"] += 1
                now = counts["all"]
                if now == trial.number or (trial.onward and now > trial.number and call.kind == trial.call.partition(" ")[0]):
                    listener.fail(call, trial.error)
                    return
            listener.allow(call)

        ended, faults = ground.watched(command, decide, which=is_tried)
        looks, wrong = ground.scene.looks(command.looks)
        faults += wrong + uncivil(ended)
        outcome = "worked" if ended.status == 0 else {"0": "failed, old", "1": "failed, new"}.get(looks, "failed, between")
        faults += self._judge(ended, looks)
        if outcome == "failed, old":
            faults += [f"not there before: {path}" for path in sorted(set(_files(ground)) - set(self._before))]
        if outcome != "failed, old" or faults:
            self.end(faults)
        return Failure(command.name, trial.call, errno.errorcode[trial.error], outcome, ended.errors.strip(), tuple(faults))

    def _judge(self, ended: Ended, looks: str) -> Iterator[str]:
        if ended.status == 0:
            if looks != "1":
                yield f"ended well, and the gate does {looks}: {ended.words}"
        elif looks == "0":
            return
        elif self._command.new == UNLOADED:
            # A program that is off is not put on again by who wants it off: it is told which are.
            if "off its devices" not in ended.errors and "off already" not in ended.errors:
                yield f"does not say what is off: {ended.words}"
        elif looks != "1":
            yield f"the gate does {looks}: {ended.words}"
        elif "in force" not in ended.errors:
            yield f"does not say that the new version is in force: {ended.words}"

    def end(self, faults: list[str]) -> None:
        """The same command once more, and all of it off."""
        ground, command = self._ground, self._command
        if self._prepared:
            again = ground.driver.run(*command.arguments)
            if again.status and not any(f"error[{each}]" in again.errors for each in ("name-in-use", "not-loaded")):
                faults.append(f"not even the second time: {again.words}")
            faults += ground.untidy()
            ground.driver.run("unload", NAME)
            faults += ground.residue()
            if faults:
                ground.clean()
        self._prepared = False


def _files(ground: ProvingGround) -> list[str]:
    """Names in the folders of records and pins."""
    return [os.path.relpath(path, ground.folder) for root in (ground.records, ground.bpffs) for path in root.rglob("*")]


# ---- all of them


@dataclass(frozen=True, slots=True)
class Failed:
    """What came of many errors."""

    seconds: float
    failures: tuple[Failure, ...]


def try_all(ground: ProvingGround, command: Command, tried: Iterable[Trial]) -> Iterator[Failure]:
    """Each in turn; and whether, at the end, the command works and leaves nothing."""
    tries = Tries(ground, command)
    for trial in tried:
        yield tries.run(trial)
    faults: list[str] = []
    tries.end(faults)
    yield Failure(command.name, "(none)", "", "worked", "", tuple(faults))


def measure_faults(show: Callable[[str], None]) -> Failed:
    """Every call of every command."""
    began = time.perf_counter()
    failures: list[Failure] = []
    with Lab() as lab, ProvingGround(lab) as ground:
        for command in COMMANDS:
            ground.warm_up(command)
            tried = trials(ground, command)
            for number, failure in enumerate(try_all(ground, command, tried)):
                failures.append(failure)
                show(bar(number, len(tried), f"{command.name}, {sum(bool(each.faults) for each in failures)} faults"))
    return Failed(time.perf_counter() - began, tuple(failures))


def faults_bounds(result: Failed) -> tuple[Bound, ...]:
    """What must hold."""
    failed = [failure for failure in result.failures if failure.error]
    return (
        at_least("errors", len(failed), 500),
        at_least("of these told, with the old version in force", sum(each.outcome == "failed, old" for each in failed), 300),
        exactly("wrong: in words, of packets, or left behind", sum(bool(failure.faults) for failure in result.failures)),
    )


def faults_table(result: Failed) -> Table:
    """Commands and calls, and how the command ended."""
    caption = (
        f"{result.seconds / 60:.0f} minutes. worked: a failure that is no obstacle, or comes when the new version is in force."
        " failed, new: unloaded, but not all removed, and said so"
    )
    table = Table(title="System calls made to fail, under traffic", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("pcnc …")
    table.add_column("call")
    for heading in ("errors", "failed, old", "failed, new", "worked", "wrong"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in result.failures:
        if failure.error:
            groups.setdefault((failure.command, failure.call), []).append(failure)
    before = ""
    for (command, call), group in groups.items():
        outcomes = Counter(failure.outcome for failure in group)
        columns = (outcomes[each] for each in ("failed, old", "failed, new", "worked"))
        wrong = sum(bool(failure.faults) for failure in group)
        table.add_row(
            command if command != before else "", call, str(len(group)), *(str(each or "") for each in columns), str(wrong)
        )
        before = command
    return table


def failures_in_words(failures: Sequence[Failure], most: int = 20) -> str:
    """The first faults, each with where it was."""
    lines = [
        f"`pcnc {failure.command}`, {failure.call} {failure.error}: {fault}" for failure in failures for fault in failure.faults
    ]
    return "\n".join(lines[:most])
