"""What is shipped: the wheel holds every file that the installed command reads, and says whose and what it is."""

from __future__ import annotations

import subprocess
import sys
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

import pcnc

ROOT = Path(__file__).parent.parent
PACKAGES = {"pcnc": ROOT, "pcnc_grammar": ROOT / "grammar", "pcnc_ebpf": ROOT / "backends", "pcnc_runtime": ROOT / "runtime"}

pytestmark = pytest.mark.text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """A wheel built from a copy of the tracked tree's packages, so that nothing of an earlier build gets in."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for package, parent in PACKAGES.items():
        for path in files_of(parent / package):
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(out),
        str(source),
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("pcnc-*.whl")
    return ZipFile(path)


def files_of(folder: Path) -> list[Path]:
    """Every file of a package's folder, but what Python leaves there."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def metadata(wheel: ZipFile, name: str) -> bytes:
    return wheel.read(f"pcnc-{pcnc.__version__}.dist-info/{name}")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(wheel: ZipFile, package: str) -> None:
    parent = PACKAGES[package]
    expected = {str(path.relative_to(parent)) for path in files_of(parent / package)}
    assert f"{package}/__init__.py" in expected
    assert expected <= set(wheel.namelist())


def test_nothing_but_the_packages_is_in_the_wheel(wheel: ZipFile) -> None:
    folders = {name.split("/", 1)[0] for name in wheel.namelist()}
    assert folders == {*PACKAGES, f"pcnc-{pcnc.__version__}.dist-info"}


def test_the_wheel_brings_the_command(wheel: ZipFile) -> None:
    assert metadata(wheel, "entry_points.txt").decode().split("\n")[:2] == ["[console_scripts]", "pcnc = pcnc.cli:main"]


def test_the_wheel_says_what_it_is(wheel: ZipFile) -> None:
    read: Message = message_from_bytes(metadata(wheel, "METADATA"))
    assert (read["Name"], read["Version"]) == ("pcnc", pcnc.__version__)
    assert read["License-Expression"] == "Apache-2.0"
    assert read["Requires-Python"] == ">=3.11"
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
