"""How a save of a file is noticed, in whatever way an editor makes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from pcnc.cli import file_saves
from pcnc.cli.file_saves import Stamp, moments, same, stamp_of
from tests.command_line import ROOT, environment

FIRST, SECOND = "the first version\n", "another version\n"


def in_place(path: Path) -> None:
    path.write_text(SECOND)


def renamed_over(path: Path) -> None:
    beside = path.with_name(".4913.tmp")
    beside.write_text(SECOND)
    beside.rename(path)


def away_and_new(path: Path) -> None:
    """As vim does it with `backup`: the old one is renamed, a new one is written."""
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(SECOND)


def removed_and_back(path: Path) -> None:
    path.unlink()
    time.sleep(0.2)
    path.write_text(SECOND)


def folder_made_anew(path: Path) -> None:
    """As a checkout of another branch does it: nothing is told of a folder that is gone."""
    folder = path.parent
    folder.rename(folder.with_name("was"))
    time.sleep(0.2)
    folder.mkdir()
    path.write_text(SECOND)


def old_file_moved_here(path: Path) -> None:
    """What is moved keeps the time at which it was modified."""
    other = path.with_name("other")
    other.write_text(SECOND)
    os.utime(other, (1, 1))
    other.rename(path)


WAYS = [in_place, renamed_over, away_and_new, removed_and_back, folder_made_anew, old_file_moved_here]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "some" / "fw.pcn"
    made.parent.mkdir()
    made.write_text(FIRST)
    return made


def save_meanwhile(path: Path, save: Callable[[], None]) -> tuple[Stamp, float]:
    """The first state that is not the one at the beginning, nor none, and when it was seen; the save is made meanwhile."""
    first = stamp_of(str(path))
    assert first is not None
    saver = threading.Timer(0.2, save)
    with closing(_looks(path)) as looks:
        next(looks)
        saver.start()
        for stamp in looks:
            if stamp is not None and not same(stamp, first):
                saver.join()
                # A file that is being written is seen in parts; in the end it is as it was saved.
                while path.read_text() != SECOND:
                    next(looks)
                return stamp, time.time()
    raise AssertionError


def _looks(path: Path) -> Generator[Stamp | None, None, None]:
    deadline = time.monotonic() + 60
    with closing(moments(str(path))) as told:
        for _ in told:
            assert time.monotonic() < deadline, "nothing was noticed"
            yield stamp_of(str(path))


@pytest.mark.parametrize("save", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_saving_is_noticed_with_its_time(path: Path, save: Callable[[Path], None]) -> None:
    before = time.time()
    stamp, seen = save_meanwhile(path, lambda: save(path))
    # The clock of a file system is a tick of the kernel behind.
    assert before + 0.15 <= stamp.saved <= seen


@pytest.mark.parametrize("save", WAYS, ids=lambda way: way.__name__)
def test_a_name_in_the_folder_of_the_command(path: Path, save: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    if save is folder_made_anew:
        monkeypatch.chdir(path.parent.parent)
        save_meanwhile(Path("some/fw.pcn"), lambda: save(path))
    else:
        monkeypatch.chdir(path.parent)
        save_meanwhile(Path("fw.pcn"), lambda: save(Path("fw.pcn")))


def test_what_a_link_leads_to_is_noticed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "links" / "link.pcn"
    link.parent.mkdir()
    link.symlink_to(path)
    save_meanwhile(link, lambda: renamed_over(path))


def test_a_link_that_leads_elsewhere_now_is_noticed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "fw.pcn"
    other.parent.mkdir()
    other.write_text(SECOND)
    link = tmp_path / "links" / "link.pcn"
    link.parent.mkdir()
    link.symlink_to(path)

    def turn() -> None:
        link.with_name("new").symlink_to(other)
        link.with_name("new").rename(link)

    before = time.time()
    stamp, _ = save_meanwhile(link, turn)
    assert stamp.saved >= before
    # And what happens at the new place, too.
    first = stamp_of(str(link))
    with closing(_looks(link)) as looks:
        next(looks)
        renamed_over(other)
        assert any(not same(stamp, first) for stamp in looks)


def test_a_linked_folder_that_is_turned_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes changes the files of a volume."""
    for number, text in enumerate((FIRST, SECOND)):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "fw.pcn").write_text(text)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "fw.pcn").symlink_to("..data/fw.pcn")

    def turn() -> None:
        (tmp_path / "..new").symlink_to("..1")
        (tmp_path / "..new").rename(tmp_path / "..data")

    save_meanwhile(tmp_path / "fw.pcn", turn)


def test_what_is_no_save(path: Path) -> None:
    before = stamp_of(str(path))
    path.chmod(0o600)
    path.read_text()
    (path.with_name("another")).write_text("x")
    os.link(path, path.with_name("second name"))
    assert same(before, stamp_of(str(path)))
    assert same(None, None)
    os.utime(path, (5, 5))
    assert not same(before, stamp_of(str(path)))


@pytest.mark.kernel
@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_a_machine_that_has_no_watches_to_give_is_polled(path: Path, limit: str) -> None:
    """The limits are per user, and other programs use them up; a namespace of users has limits of its own."""
    code = (
        "import sys; from pcnc.cli.file_saves import moments, same, stamp_of; path = sys.argv[1]; first = stamp_of(path)\n"
        "for number, _ in enumerate(moments(path)):\n"
        "    if number == 2: print('polling', flush=True)\n"
        "    if not same(first, stamp_of(path)): break\n"
        "print('seen')"
    )
    without = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", without, "sh", sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "polling\n"
        renamed_over(path)
        assert process.communicate(timeout=60)[0] == "seen\n"
    assert process.returncode == 0


def test_one_looks_at_least_once_a_second(path: Path) -> None:
    assert file_saves.LOOK_EVERY <= 1000
    with closing(_looks(path)) as looks:
        for _ in range(4):
            next(looks)
