"""System calls that fail, full and read-only disks: a clear sentence, the old version in force, and nothing left."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.lab import Lab
from soak.faults import Trial, failures_in_words, trials, try_all
from soak.proving_ground import COMMANDS, NAME, Command, ProvingGround, uncivil
from tests.seed import SEED

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def ground() -> Iterator[ProvingGround]:
    with Lab() as lab, ProvingGround(lab) as made:
        yield made


def command(name: str) -> Command:
    return next(command for command in COMMANDS if command.name == name)


@pytest.mark.parametrize("tried", COMMANDS, ids=lambda command: command.name)
def test_a_call_that_fails(ground: ProvingGround, tried: Command) -> None:
    sys.stderr.write(f"seed {SEED}\n")
    ground.warm_up(tried)
    found: list[Trial] = trials(ground, tried)
    chosen = random.Random(SEED).sample(found, min(6, len(found)))
    assert failures_in_words(list(try_all(ground, tried, chosen))) == ""


@pytest.fixture(autouse=True)
def _clean(ground: ProvingGround) -> Iterator[None]:
    """What one test leaves is not another's fault."""
    yield
    ground.clean()


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Writes a file until the disk is full."""
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def old_stays(ground: ProvingGround, tried: Command, problem: str, words: str) -> None:
    """The command fails in this way, the gate does what it did, and nothing has come of it."""
    ended, faults = ground.watched(tried, lambda listener, call: listener.allow(call))
    assert f"error[{problem}]" in ended.errors, ended.words
    assert words in ended.errors, ended.words
    assert (ended.status, faults, uncivil(ended)) == (1, [], [])
    assert ground.scene.looks(tried.looks) == ("0", [])


@pytest.mark.parametrize("name", ["load", "rules", "swap", "rollback"])
def test_a_full_disk(ground: ProvingGround, name: str) -> None:
    """The records lie on a disk of their own, which is full to the last byte."""
    tried = command(name)
    ground.warm_up(tried)
    with mounted(ground.records, "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        ground.prepare(tried)
        filler = ground.records / "filler"
        fill(filler)
        old_stays(ground, tried, "no-space", "No space left on device")
        assert not list(ground.records.rglob(".*"))
        filler.unlink()
        if name != "load":
            assert ground.driver.run("show", NAME).status == 0
        assert ground.driver.run(*tried.arguments).status == 0
        assert ground.untidy() == []
        assert ground.driver.run("unload", NAME).status == 0
        assert ground.residue() == []


@pytest.mark.parametrize("name", ["load", "rules", "swap", "unload"])
def test_a_bpffs_that_is_read_only(ground: ProvingGround, name: str) -> None:
    tried = command(name)
    ground.warm_up(tried)
    ground.prepare(tried)
    subprocess.run(["mount", "-o", "remount,ro", str(ground.bpffs)], check=True)
    try:
        if name == "unload":
            # Its programs can be taken off; what is pinned stays until it can be removed, and that is told.
            ended = ground.driver.run(*tried.arguments)
            assert "`gate` is off its devices, but cannot remove all of it: Read-only file system" in ended.errors, ended.words
            assert (ended.status, uncivil(ended)) == (1, [])
        else:
            old_stays(ground, tried, "kernel-refused", "Read-only file system")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(ground.bpffs)], check=True)
    assert ground.driver.run(*tried.arguments).status == 0
    ground.driver.run("unload", NAME)
    assert ground.residue() == []


def test_a_bpffs_that_is_not_mounted(ground: ProvingGround) -> None:
    tried = command("load")
    elsewhere = ground.folder / "no-bpffs"
    elsewhere.mkdir()
    ended = ground.driver.run(*tried.arguments, variables={"PCNC_BPFFS": str(elsewhere)})
    assert "error[no-bpffs]" in ended.errors
    assert f"mount -t bpf bpf {elsewhere}" in ended.errors
    assert ground.residue() == []


def test_a_full_disk_under_the_cache_of_objects_is_no_obstacle(ground: ProvingGround) -> None:
    tried = command("load")
    with mounted(ground.cache, "-t", "tmpfs", "-o", "size=4k", "tmpfs"):
        (ground.cache / "filler").write_bytes(bytes(4096))
        ended = ground.driver.run(*tried.arguments)
        assert ended.status == 0, ended.words
        assert [path.name for path in ground.cache.rglob("*") if path.is_file()] == ["filler"]
    ground.driver.run("unload", NAME)
    assert ground.residue() == []


def test_a_full_disk_under_a_bundle_is_told_and_leaves_no_half_of_it(ground: ProvingGround) -> None:
    disk = ground.folder / "small"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=16k", "tmpfs"):
        ended = ground.driver.run("build", "one.pcn", "-o", disk / "one.bundle")
        assert (ended.status, uncivil(ended)) == (1, [])
        assert "No space left on device" in ended.errors
        assert list(disk.iterdir()) == []
    shutil.rmtree(disk)
