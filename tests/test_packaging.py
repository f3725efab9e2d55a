"""What is shipped: the wheel holds every file that the installed command reads, and says whose and what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from zipfile import ZipFile

import pytest

import pcnc

ROOT = Path(__file__).parent.parent
PACKAGES = {"pcnc": ROOT, "pcnc_grammar": ROOT / "grammar", "pcnc_ebpf": ROOT / "backends", "pcnc_runtime": ROOT / "runtime"}
FIREWALL = str(ROOT / "examples" / "firewall.pcn")

STARTER = """
import sys
site = sys.argv.pop(1)
sys.path.insert(0, site)
import pcnc.cli
assert pcnc.__file__.startswith(site)
pcnc.cli.main()
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """A wheel built from a copy of the packages, so that nothing of an earlier build gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, source)
    for package, parent in PACKAGES.items():
        folder = parent / package
        copytree(folder, source / folder.relative_to(ROOT), ignore=ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
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


@pytest.fixture
def installed(wheel: ZipFile, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as the wheel alone brings it, from an empty folder, with nothing in the user's cache."""
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    wheel.extractall(site)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-c", STARTER, str(site), *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)

    return run


@pytest.mark.text
def test_the_installed_command_checks_a_file_from_any_folder(installed: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = installed("check", FIREWALL)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.clang
def test_the_installed_command_builds_a_bundle_from_any_folder(
    installed: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = installed("build", FIREWALL, "-o", "bundle")
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.suffix for path in (tmp_path / "elsewhere" / "bundle").rglob("*")}
    assert {".c", ".o", ".json"} <= made
