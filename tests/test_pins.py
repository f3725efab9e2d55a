"""Pins: names in bpffs, wherever it is mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.kernel_maps import MapType, create_map
from pcnc_runtime.pins import bpffs, list_pins, make_directory, open_map, open_program, pin, pin_over, remove_tree, unlink
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import ProgramType

pytestmark = pytest.mark.kernel


@pytest.fixture
def folder() -> Iterator[Path]:
    path = bpffs() / f"pcnc_test_{os.getpid()}"
    make_directory(path)
    yield path
    remove_tree(path)


def test_a_pin_outlives_its_descriptor(folder: Path) -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as made:
        made.update(0, b"kept")
        pin(made.fd, folder / "rules")
    with open_map(folder / "rules") as again:
        assert again.lookup(0) == b"kept"
    assert list_pins(folder) == ("rules",)
    assert unlink(folder / "rules")
    assert not unlink(folder / "rules")
    with pytest.raises(FileNotFoundError):
        open_map(folder / "rules")


def test_a_name_that_is_taken_is_not_pinned_over_by_accident(folder: Path) -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as first, create_map(MapType.ARRAY, 4, 4, 1) as second:
        pin(first.fd, folder / "live")
        with pytest.raises(FileExistsError):
            pin(second.fd, folder / "live")
        pin_over(second.fd, folder / "live")
        with open_map(folder / "live") as found:
            assert found.facts.id == second.facts.id
        assert list_pins(folder) == ("live",)


def test_what_is_pinned_is_taken_for_what_it_is(folder: Path) -> None:
    with create_map(MapType.ARRAY, 4, 4, 1) as made, load_minimal(ProgramType.XDP) as program:
        pin(made.fd, folder / "map")
        pin(program.fd, folder / "program")
    for opening, wrong in ((open_map, "program"), (open_program, "map")):
        with pytest.raises(RuntimeProblem) as caught:
            opening(folder / wrong)
        assert caught.value.name == "wrong-pin"
    open_program(folder / "program").close()


def test_a_directory_is_renamed_with_all_its_pins(folder: Path) -> None:
    """So a generation can be pinned under a name that nobody reads, and appear whole."""
    make_directory(folder / "coming")
    with create_map(MapType.ARRAY, 4, 4, 1) as made:
        pin(made.fd, folder / "coming" / "blocks")
    os.rename(folder / "coming", folder / "g1")
    assert list_pins(folder / "g1") == ("blocks",)
    assert list_pins(folder / "coming") == ()


def test_a_dot_in_a_name_is_told(folder: Path) -> None:
    with pytest.raises(RuntimeProblem, match="dot"):
        make_directory(folder / "fw.1")


def test_a_tree_goes_with_everything_below(folder: Path) -> None:
    make_directory(folder / "a" / "b")
    make_directory(folder / "a" / "b")
    with create_map(MapType.ARRAY, 4, 4, 1) as made:
        pin(made.fd, folder / "a" / "one")
        pin(made.fd, folder / "a" / "b" / "two")
    remove_tree(folder / "a")
    remove_tree(folder / "a")
    assert list_pins(folder) == ()


def test_directories_are_for_root_alone(folder: Path) -> None:
    make_directory(folder / "fw")
    assert (folder / "fw").stat().st_mode & 0o077 == 0


def test_bpffs_is_where_the_variable_says_or_told_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = bpffs()
    monkeypatch.setenv("PCNC_BPFFS", str(usual))
    assert bpffs() == usual
    for wrong in (tmp_path, tmp_path / "missing"):
        monkeypatch.setenv("PCNC_BPFFS", str(wrong))
        with pytest.raises(RuntimeProblem) as caught:
            bpffs()
        assert caught.value.name == "no-bpffs"


def test_pins_made_where_sys_is_covered_outlive_the_covering(folder: Path, lab: Lab) -> None:
    """`ip netns exec` mounts a new /sys in a mount namespace that ends with the command."""
    code = (
        "import sys; from pathlib import Path; from pcnc_runtime.kernel_maps import *; from pcnc_runtime.pins import *\n"
        "made = create_map(MapType.ARRAY, 4, 4, 1); made.update(0, b'kept')\n"
        "assert not Path('/sys/fs/bpf', sys.argv[1]).exists()\n"
        "pin(made.fd, bpffs() / sys.argv[1] / 'inside')\n"
    )
    command = ["ip", "netns", "exec", lab.namespace("covered").name, sys.executable, "-c", code]
    runtime = str(Path(__file__).parents[1] / "runtime")
    done = subprocess.run(
        [*command, folder.name], env={**os.environ, "PYTHONPATH": runtime}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with open_map(folder / "inside") as again:
        assert again.lookup(0) == b"kept"
