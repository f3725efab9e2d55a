"""`pcnc diff`, and what it and a dry run tell: blocks, tables, settings, rules, and what becomes of state."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pcnc_runtime.same_code import code_of
from tests.command_line import COMMAND, EXAMPLES, ROOT, environment, pcnc
from tests.live_service import FIREWALL, Wire, compiled, with_rules
from tests.loaded_by_command import loaded

LIMITED = """service firewall {
    config least: u8 = 10
    table sources {
        match   ipv4.src: lpm
        action  drop, next
        size    1k
        count   packets
    }
    rules sources { 10.0.0.0/8 -> drop; 11.0.0.0/8 -> next }
    chain ingress { stage low { if ipv4 { if ipv4.ttl < least { drop } } } sources }
}
"""
LISTED = """service firewall {
    config least: u16 = 12
    table sources {
        match   ipv4.src: prefix, l4.dport: range
        action  drop, next
        order   first
        size    2k
        count   packets, bytes
    }
    rules sources { ipv4.src=10.0.0.0/8 -> next; l4.dport=53 -> next }
    chain ingress { sources; stage high { if udp { if udp.dport == least { drop } } } }
}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "a.pcn", tmp_path / "b.pcn"
    old.write_text(LIMITED)
    new.write_text(LISTED)
    return old, new


def test_two_sources_are_compared_without_clang_or_privileges(files: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = files
    poor = {"PATH": str(tmp_path), "PCNC_CLANG": str(tmp_path / "none"), "PCNC_BPFFS": str(tmp_path / "none")}
    done = pcnc("diff", old, new, changed=poor).check()
    assert done.errors == ""
    lines = done.output.splitlines()
    assert lines[0] == f"{old} -> {new}"
    for line in (
        "  ~ sources  rebuilt  matches ipv4.src (prefix), l4.dport (range)",
        "  + high     added    if udp { if udp.dport == least { drop } }",
        "  - low      removed  if ipv4 { if ipv4.ttl < least { drop } }",
        "  + also parses tcp.dport, udp.dport",
        "  - no longer parses ipv4.ttl",
        "  ~ sources",
        "      + match l4.dport  range, u16",
        "      ~ size            1,024 -> 2,048",
        "      rules: 1 of the file kept, 1 added, 1 removed, 1 changed",
        "      ~ map of counts: migrated (a map of the new size; totals go on)",
        "  ~ least  u8 -> u16: kept (10 -> 12, never set)",
        "maps: 0 kept, 3 migrated, 0 new, 0 gone, 0 lost",
    ):
        assert line in lines, done.output


def test_what_is_the_same_is_kept_wherever_it_stands(files: tuple[Path, Path]) -> None:
    old, new = files
    new.write_text("# a comment\n\n" + LIMITED.replace("size    1k", "size 1024"))
    found = pcnc("diff", old, new, "--json").check().json
    assert {block["change"] for chain in found["chains"] for block in chain["blocks"]} == {"kept"}
    assert found["maps"] == {"kept": 3, "migrated": 0, "new": 0, "gone": 0, "lost": 0}
    assert (found["fits"], found["misfits"]) == (True, [])
    assert [table["change"] for table in found["tables"]] == ["kept"]
    assert found["settings"][0]["value"] == {"what": "value", "fate": "kept", "how": "10"}


def test_a_terminal_gets_colours(files: tuple[Path, Path]) -> None:
    line = " ".join([*COMMAND, "diff", *map(str, files)])
    variables = {name: value for name, value in environment(TERM="xterm").items() if name != "NO_COLOR"}
    typescript = ["script", "-qec", line, os.devnull]
    done = subprocess.run(typescript, env=variables, capture_output=True, text=True, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    assert "\x1b[33m~ sources" in done.stdout
    assert "\x1b[32m+ high" in done.stdout


def test_what_cannot_be_compared(files: tuple[Path, Path], tmp_path: Path) -> None:
    old, _ = files
    pcnc("diff", old, tmp_path / "none.pcn").refused("no-such-file")
    assert "neither loaded nor a file" in pcnc("diff", "no-such-name", old).refused("no-such-file")
    pcnc("diff", old, tmp_path).refused("not-a-bundle")
    (tmp_path / "bad.pcn").write_text("service s { chain ingress { nowhere } }")
    assert pcnc("diff", old, tmp_path / "bad.pcn").status == 1
    assert pcnc("diff", old).status == 2
    pcnc("diff", old, EXAMPLES / "firewall.pcn", "--service", "other").refused("no-such-service")


@pytest.mark.clang
def test_a_bundle_is_compared_by_its_c(files: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = files
    pcnc("build", old, "-o", tmp_path / "bundle").check()
    for sides in ((tmp_path / "bundle", old), (old, tmp_path / "bundle")):
        found = pcnc("diff", *sides, "--json").check().json
        assert {block["change"] for block in found["chains"][0]["blocks"]} == {"kept"}
    found = pcnc("diff", tmp_path / "bundle", new, "--json").check().json
    assert {block["name"]: block["change"] for block in found["chains"][0]["blocks"]} == {
        "parser": "rebuilt",
        "sources": "rebuilt",
        "high": "added",
        "low": "removed",
    }


@pytest.mark.clang
def test_instructions_are_the_same_whatever_line_they_come_from() -> None:
    text = with_rules(FIREWALL, "sources", "10.0.0.0/8 -> drop")
    texts = text, f"# moved\n\n{text}", text.replace("/8 -> drop", "/8 -> next")
    first, moved, other = (compiled(each).bundle for each in texts)

    def codes(bundle: Any) -> list[str]:
        blocks = bundle.manifest.variants[0].chains[0].blocks
        return [code_of(None, bundle.files[block.object]).instructions for block in blocks]

    assert [block.name for block in first.manifest.variants[0].chains[0].blocks] == ["parser", "sources", "destinations"]
    assert codes(first) == codes(moved)
    same = [mine == its for mine, its in zip(codes(first), codes(other), strict=True)]
    assert same == [True, False, True]
    assert first.files != moved.files, "the debug information does differ"
    assert not code_of(None, b"").is_same(code_of(b"", None)), "nothing in common to compare"
    assert code_of(None, b"some other form").is_same(code_of(None, b"some other form"))


# ---- with what is loaded


@pytest.mark.kernel
@pytest.mark.clang
def test_a_dry_run_and_a_diff_say_what_the_swap_then_does(wire: Wire, files: tuple[Path, Path]) -> None:
    old, new = files
    with loaded(wire, old, "--set", "least=20") as service:
        service.rules("sources", "add", "12.0.0.0/8 -> drop", "12.1.0.0/16 -> next").check()
        before = service.show()
        told = service.run("swap", new, "--dry-run", "--json").check().json
        assert service.show() == before, "nothing was changed"
        assert told == {**pcnc("diff", service.name, new, "--json").check().json}
        assert told["fits"]
        assert told["tables"][0]["rules"]["operator"] == {"kept": 2, "unfit": 0}
        assert told["settings"][0]["value"] == {"what": "value", "fate": "migrated", "how": "20, as it was set"}
        done = service.run("swap", new, "--dry-run").check()
        assert done.output.endswith("this can be done; nothing was changed\n")
        service.run("swap", new).check()
        assert [id for id, *_ in service.listed("sources")] == [4, 3, 1, 5], "longer prefixes first, before the file's"
        same = pcnc("diff", service.name, new, "--json").check().json
        assert {block["change"] for block in same["chains"][0]["blocks"]} == {"kept"}
        assert same["maps"] == {"kept": 3, "migrated": 0, "new": 0, "gone": 0, "lost": 0}


@pytest.mark.kernel
@pytest.mark.clang
def test_what_does_not_fit_is_told_side_by_side(wire: Wire, files: tuple[Path, Path]) -> None:
    old, new = files
    new.write_text(LIMITED.replace("drop, next", "next").replace("10.0.0.0/8 -> drop; ", "").replace("least: u8", "least: u4"))
    with loaded(wire, old, "--set", "least=20") as service:
        service.rules("sources", "add", "12.0.0.0/8 -> drop").check()
        done = service.run("swap", new, "--dry-run")
        said = done.refused("rules-do-not-fit")
        assert "! sources" not in done.output
        assert "      ! map of rules: lost (1 of the operator's does not fit)" in done.output
        assert "  ! least  u8 -> u4: lost (20 does not fit u4)" in done.output
        assert service.run("swap", new).refused("rules-do-not-fit") == said
        for line in (
            "     table sources     old             new",
            "  !    action drop     drop            -",
            "      rule 3 of `sources` (`12.0.0.0/8 -> drop`): the table has no action `drop` any more",
            "  !    type         u8   u4",
            "      setting `least`: 20 does not fit `least`, which is of type u4 now",
            "--discard sources --discard least",
        ):
            assert line in said, said
        told = service.run("swap", new, "--json")
        assert told.status == 1
        assert [misfit["name"] for misfit in told.json["error"]["misfits"]] == ["sources", "least"]
        shape = {row["label"]: (row["old"], row["new"]) for row in told.json["error"]["misfits"][0]["shape"]}
        assert shape["action drop"] == ("drop", None)
        found = service.run("swap", new, "--dry-run", "--json")
        assert (found.status, found.json["fits"]) == (1, False)
        assert "1 of the operator's rules and 1 setting do not fit" in pcnc("diff", service.name, new).check().output
        service.run("swap", new, "--discard", "lest").refused("nothing-to-discard")
        service.run("swap", new, "--discard", "sources").refused("settings-do-not-fit")
        done = service.run("swap", new, "--discard", "sources", "--discard", "least").check()
        assert "dropped rule 3 of `sources`" in done.errors
        assert "dropped setting `least`" in done.errors
        service.run("rollback").check()
        assert (3, "operator", "12.0.0.0/8 -> drop") in service.listed("sources")
