"""Bundles that were cut short, edited, or are somebody else's: refused, with words, before anything changes."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench.lab import Lab
from pcnc_runtime.bundle import read_bundle, with_seal, write_bundle
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import load, swap
from pcnc_runtime.pins import bpffs
from pcnc_runtime.state import state_folder
from tests.command_line import pcnc
from tests.live_service import FIREWALL, Wire, compiled, loaded, new_name, udp, with_rules

WITH_RULES = with_rules(FIREWALL, "sources", "10.1.0.0/16 -> drop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(compiled(WITH_RULES).bundle, tmp_path / "fw")
    return tmp_path / "fw"


def refused(folder: Path) -> str:
    """What is said of a bundle that is none any more."""
    with pytest.raises(RuntimeProblem) as caught:
        read_bundle(folder)
    assert caught.value.name in ("broken-bundle", "not-a-bundle")
    assert str(folder) in caught.value.message
    assert caught.value.help or caught.value.name == "not-a-bundle"
    return caught.value.message


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.clang
def test_every_file_cut_short_anywhere_is_refused(folder: Path) -> None:
    files = files_of(folder)
    assert len(files) > 8
    for path in files:
        whole = path.read_bytes()
        for length in sorted({0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2}):
            path.write_bytes(whole[:length])
            assert path.name in refused(folder), f"{path.name} cut to {length} of {len(whole)} bytes"
        path.write_bytes(whole)
    assert read_bundle(folder) == compiled(WITH_RULES).bundle


def says_the_same(folder: Path) -> bool:
    """Whether it is taken for what it was; False where it is refused."""
    try:
        found = read_bundle(folder)
    except RuntimeProblem as problem:
        if problem.name not in ("broken-bundle", "not-a-bundle"):
            raise
        return False
    assert found == compiled(WITH_RULES).bundle
    return True


@pytest.mark.clang
def test_one_bit_changed_anywhere_is_refused_or_changes_nothing(folder: Path) -> None:
    """In the manifest white space may change: then it says what it said."""
    same = 0
    for path in files_of(folder):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // (60 if path.suffix == ".json" else 12))):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            same += says_the_same(folder)
        path.write_bytes(whole)
    assert same < 5


EDITS: dict[str, Callable[[Any], object]] = {
    "another rule": lambda data: data["tables"][0]["rules"][0].__setitem__(1, "next"),
    "another size": lambda data: data["tables"][0]["schema"].update(size=7),
    "another default": lambda data: data["tables"][0].update(default="drop"),
    "fewer needs": lambda data: data.update(needs=[]),
    "another hash": lambda data: data["hashes"][0].__setitem__(1, "0" * 64),
    "no hashes": lambda data: data.update(hashes=[]),
    "no seal": lambda data: data.pop("seal"),
    "a seal that is none": lambda data: data.update(seal=17),
}


@pytest.mark.clang
@pytest.mark.parametrize("edit", list(EDITS))
def test_a_manifest_that_was_edited_is_refused(folder: Path, edit: str) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    EDITS[edit](data)
    path.write_text(json.dumps(data))
    assert "manifest.json was changed since the bundle was built" in refused(folder)


@pytest.mark.clang
def test_a_manifest_laid_out_anew_is_the_same(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":"), sort_keys=True))
    assert read_bundle(folder) == compiled(WITH_RULES).bundle


@pytest.mark.clang
def test_links_and_what_is_no_file_are_not_followed(folder: Path, tmp_path: Path) -> None:
    victim = next(path for path in files_of(folder) if path.suffix == ".o")
    same = tmp_path / "elsewhere.o"
    shutil.move(victim, same)
    victim.symlink_to(same)
    assert "is a link" in refused(folder)
    victim.unlink()
    os.mkfifo(victim)
    assert "no plain file" in refused(folder), "nobody waits for who writes into it"
    victim.unlink()
    victim.mkdir()
    assert "no plain file" in refused(folder) or "lacks" in refused(folder)
    victim.rmdir()
    shutil.copy(same, victim)
    above = victim.parent
    assert above != folder
    shutil.move(above, tmp_path / "moved")
    above.symlink_to(tmp_path / "moved")
    assert "leads out of the bundle" in refused(folder)
    above.unlink()
    shutil.move(tmp_path / "moved", above)
    manifest = folder / "manifest.json"
    shutil.move(manifest, tmp_path / "manifest.json")
    manifest.symlink_to("/dev/zero")
    assert "is a link" in refused(folder)


@pytest.mark.clang
def test_files_that_it_does_not_name_are_not_looked_at(folder: Path) -> None:
    (folder / "notes.txt").write_text("remember")
    (folder / "more.bpf.o").write_bytes(b"\x7fELF")
    assert read_bundle(folder) == compiled(WITH_RULES).bundle


@pytest.mark.clang
def test_what_is_no_bundle_is_told(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "fw.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "fw")
    assert "is no folder" in refused(archive)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "xdp_prog.o").write_bytes(b"\x7fELF")
    assert "holds no manifest.json" in refused(theirs)
    (theirs / "manifest.json").write_text('{"name": "an extension of a browser", "manifest_version": 3}')
    assert "is not a manifest of pcnc" in refused(theirs)
    (theirs / "manifest.json").write_text(json.dumps({**json.loads((folder / "manifest.json").read_text()), "format": 99}))
    assert "has format 99; this pcnc reads format 1" in refused(theirs)


# ---- nothing changes


def pinned() -> list[str]:
    return sorted(str(path) for path in (bpffs() / "pcnc").rglob("*"))


def on_disk() -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes()) for path in files_of(state_folder())]


@pytest.fixture
def wire(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))
    with Wire(lab) as made:
        yield made


@pytest.mark.kernel
def test_a_refused_bundle_changes_nothing(wire: Wire, folder: Path, tmp_path: Path) -> None:
    victim = next(path for path in files_of(folder) if path.suffix == ".o")
    victim.write_bytes(victim.read_bytes()[:-1])
    archive = tmp_path / "fw.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "fw")
    with loaded(wire, WITH_RULES) as name:
        mine = [path for path in pinned() if f"/{name}" in path]
        disk = on_disk()
        for what, problem in ((folder, "broken-bundle"), (archive, "not-utf-8"), (victim, "not-utf-8")):
            pcnc("swap", name, what).refused(problem)
            pcnc("load", what, "--name", "other", "--dev", "eth0", within=wire.left).refused(problem)
        assert [path for path in pinned() if f"/{name}" in path] == mine
        assert on_disk() == disk
        assert [wire.passes(udp(f"10.{octet}.0.1")) for octet in (1, 2)] == [False, True]


def resealed(folder: Path, change: Callable[[Any], object]) -> None:
    """Changes a bundle as somebody would who knows how it is made: the hashes and the seal are right again."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    data["hashes"] = [[name, sha256((folder / name).read_bytes()).hexdigest()] for name, _ in data["hashes"]]
    path.write_text(json.dumps(with_seal(data)))


def objects_of(data: Any) -> list[Any]:
    return [*data["entries"], *(block for variant in data["variants"] for chain in variant["chains"] for block in chain["blocks"])]


def wrong_blocks(folder: Path) -> None:
    """Each block is the object of another one."""

    def change(data: Any) -> None:
        paths = [block["object"] for block in data["variants"][0]["chains"][0]["blocks"]]
        contents = [(folder / path).read_bytes() for path in paths]
        for path, content in zip(paths, [*contents[1:], contents[0]], strict=True):
            (folder / path).write_bytes(content)

    resealed(folder, change)


def wrong_entry(folder: Path) -> None:
    """The entry is a block."""

    def change(data: Any) -> None:
        block = data["variants"][0]["chains"][0]["blocks"][-1]["object"]
        shutil.copy(folder / block, folder / data["entries"][0]["object"])

    resealed(folder, change)


def no_object(folder: Path) -> None:
    """Objects are text."""

    def change(data: Any) -> None:
        for each in objects_of(data):
            (folder / each["object"]).write_text("not for any processor")

    resealed(folder, change)


def half_objects(folder: Path) -> None:
    """Objects end in the middle."""

    def change(data: Any) -> None:
        for path in {folder / each["object"] for each in objects_of(data)}:
            path.write_bytes(path.read_bytes()[:600])

    resealed(folder, change)


def other_map_shape(folder: Path) -> None:
    """The map of rules has other keys than the blocks look up."""

    def change(data: Any) -> None:
        for variant in data["variants"]:
            for table in variant["tables"]:
                table["value_size"] += 8

    resealed(folder, change)


def no_such_function(folder: Path) -> None:
    """The manifest names programs that the objects do not have."""

    def change(data: Any) -> None:
        for variant in data["variants"]:
            for block in variant["chains"][0]["blocks"]:
                block["function"] = "nothing_of_that_name"

    resealed(folder, change)


@pytest.mark.kernel
@pytest.mark.parametrize("damage", [wrong_blocks, wrong_entry, no_object, half_objects, other_map_shape, no_such_function])
def test_objects_that_are_not_what_the_manifest_says_are_refused_before_anything_changes(
    wire: Wire, folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder)
    bundle, name = read_bundle(folder), new_name()
    with loaded(wire, FIREWALL) as running, wire.left.entered():
        before = records_of(running)
        assert told(load, bundle, name, ["eth0"]) in TOLD
        if damage is not wrong_entry:  # a swap needs none
            assert told(swap, running, bundle) in TOLD
        assert not [path for path in pinned() if f"/{name}" in path]
        assert not (state_folder() / name).exists()
        assert records_of(running) == before
        assert wire.passes(udp("10.1.0.1"))


def told(change: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(RuntimeProblem) as caught:
        change(*arguments)
    return caught.value.name


def records_of(name: str) -> list[tuple[str, bytes]]:
    """What is written down of a service, without copies of bundles: one that was not used goes with the next change."""
    return [(path, content) for path, content in on_disk() if f"/{name}/" in path and "/bundles/" not in path]


TOLD = ("broken-bundle", "broken-object", "object-without-map", "object-without-program", "map-shape", "verifier-refused")
