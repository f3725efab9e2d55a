"""`pcnc build` and the tests of a file on compiled programs: what needs clang."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import EXAMPLES, no_compiler, pcnc

pytestmark = pytest.mark.clang
FIREWALL = EXAMPLES / "firewall.pcn"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_has_two_variants(tmp_path: Path) -> None:
    done = pcnc("build", FIREWALL, "-o", tmp_path / "fw").check()
    assert "as_written  for the file's own rules: no block, parses nothing" in done.output
    assert "general     for any rules: 3 blocks, parses ipv4.dst, ipv4.src" in done.output
    manifest = json.loads((tmp_path / "fw" / "manifest.json").read_text())
    assert [variant["name"] for variant in manifest["variants"]] == ["as_written", "general"]


def test_one_shape_is_one_variant(tmp_path: Path) -> None:
    source = tmp_path / "drop.pcn"
    source.write_text("service x { chain ingress { if ipv4 { drop } } }")
    done = pcnc("build", source, "-o", tmp_path / "x", "--json").check()
    assert [variant["name"] for variant in done.json["variants"]] == ["general"]


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, hook: str) -> None:
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / "firewall.pcn"
    copy.write_text(FIREWALL.read_text())
    for source, name in ((FIREWALL, "one"), (copy, "two")):
        done = pcnc("build", source, "-o", tmp_path / name, "--hook", hook, changed={"XDG_CACHE_HOME": str(tmp_path / name / "..")})
        assert done.check().output
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_bundle_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    out = tmp_path / "fw"
    pcnc("build", EXAMPLES / "acl.pcn", "-o", out).check()
    pcnc("build", FIREWALL, "-o", out).check()
    assert json.loads((out / "manifest.json").read_text())["service"] == "firewall"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    pcnc("build", FIREWALL, "-o", tmp_path / "mine").refused("not-a-bundle")
    assert contents(tmp_path / "mine") == {"letter.txt": b"dear"}
    pcnc("build", FIREWALL, "-o", "/proc/fw").refused("cannot-write")


def test_a_service_with_errors_is_not_built(tmp_path: Path) -> None:
    source = tmp_path / "x.pcn"
    source.write_text("service x { chain ingress { drp } }")
    done = pcnc("build", source, "-o", tmp_path / "x", "--json")
    assert done.status == 1
    assert done.json["diagnostics"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", [("build", FIREWALL, "-o", "bundle"), ("load", FIREWALL, "--name", "x", "--dev", "lo")])
def test_no_clang_on_the_path(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = pcnc(*command, changed=no_compiler(tmp_path), folder=tmp_path)
    assert "there is no clang on the PATH" in done.refused("no-clang")
    assert list(tmp_path.iterdir()) == []


def test_a_clang_that_is_none(tmp_path: Path) -> None:
    done = pcnc("build", FIREWALL, "-o", tmp_path / "fw", changed={"PCNC_CLANG": "/bin/true", "XDG_CACHE_HOME": str(tmp_path)})
    done.refused("no-clang")
    assert not (tmp_path / "fw").exists()


def test_without_a_compiler_tests_run_on_the_interpreter_alone(tmp_path: Path) -> None:
    done = pcnc("test", FIREWALL, changed=no_compiler(tmp_path)).check()
    assert done.output.endswith("all passed, on interpreter\nnot tried in the kernel: there is no clang on the PATH\n")


@pytest.mark.kernel
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_the_tests_of_the_examples_agree_in_the_kernel(hook: str) -> None:
    done = pcnc("test", "--hook", hook, *sorted(EXAMPLES.glob("*.pcn"))).check()
    assert done.output.endswith(f"all passed, on interpreter and kernel ({hook})\n")


@pytest.mark.kernel
def test_what_fails_on_both_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "fails.pcn"
    path.write_text(FIREWALL.read_text().replace("expect drop", "expect next", 1))
    done = pcnc("test", path).is_civil()
    assert done.status == 1
    assert done.output.count("expected next, got drop") == 1
