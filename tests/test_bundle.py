"""Bundles: the same input gives the same bytes, a folder is written whole or not at all, and damage is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcnc.manifest import to_json
from pcnc.rules import MaskedValue, Rule
from pcnc_runtime.bundle import Bundle, read_bundle, with_seal, write_bundle
from pcnc_runtime.bundle_store import StoredBundle, store_bundle, store_source, stored_source
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.check_manifest import check_manifest
from pcnc_runtime.errors import RuntimeProblem
from tests.live_service import FIREWALL, compiled, with_rules

pytestmark = pytest.mark.clang

ROOT = Path(__file__).parents[1]
TEXT = with_rules(FIREWALL, "sources", "10.0.0.0/8 -> drop")


@pytest.fixture
def bundle() -> Bundle:
    return compiled(TEXT).bundle


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    write_bundle(bundle, tmp_path / "fw.bundle")
    return tmp_path / "fw.bundle"


def problem(folder: Path) -> RuntimeProblem:
    with pytest.raises(RuntimeProblem) as caught:
        read_bundle(folder)
    return caught.value


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_written_is_read_again(bundle: Bundle, folder: Path) -> None:
    read = read_bundle(folder)
    assert read.manifest == bundle.manifest
    assert read.files == bundle.files
    assert {block.object for variant in read.manifest.variants for chain in variant.chains for block in chain.blocks} <= set(
        read.files
    )


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fw.pcn").write_text(TEXT)
    code = (
        "import sys; from pathlib import Path; from tests.live_service import compiled\n"
        "from pcnc_runtime.bundle import write_bundle\n"
        "write_bundle(compiled(Path(sys.argv[1]).read_text()).bundle, Path(sys.argv[2]))"
    )
    for seed in ("1", "2"):
        search = ":".join(str(ROOT / part) for part in ("", "grammar", "backends", "runtime"))
        environment = {**os.environ, "PYTHONPATH": search, "XDG_CACHE_HOME": str(tmp_path / seed), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, str(tmp_path / "fw.pcn"), str(tmp_path / f"again{seed}")]
        subprocess.run(command, env=environment, check=True, cwd=tmp_path)
        assert content(tmp_path / f"again{seed}") == content(folder)


def test_no_path_of_this_machine_goes_into_it(folder: Path, tmp_path: Path) -> None:
    for name, data in content(folder).items():
        for place in (str(ROOT), "/tmp", str(tmp_path), str(Path.home())):
            assert place.encode() not in data, f"{place} in {name}"


def test_a_bundle_is_replaced_and_nothing_of_the_old_one_stays(bundle: Bundle, folder: Path) -> None:
    (folder / "stale").write_text("x")
    write_bundle(bundle, folder)
    assert not (folder / "stale").exists()
    assert read_bundle(folder).files == bundle.files
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("there", ["file", "folder", "manifest of others", "link"])
def test_what_is_no_bundle_is_not_replaced(bundle: Bundle, tmp_path: Path, there: str) -> None:
    target = tmp_path / "out"
    if there == "file":
        target.write_text("mine")
    elif there == "link":
        (tmp_path / "real").mkdir()
        target.symlink_to(tmp_path / "real")
    else:
        target.mkdir()
        (target / ("manifest.json" if there != "folder" else "notes")).write_text("[]")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(RuntimeProblem) as caught:
        write_bundle(bundle, target)
    assert caught.value.name == "not-a-bundle"
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_taken_and_folders_above_are_made(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "a" / "b"):
        write_bundle(bundle, target)
        assert read_bundle(target).manifest == bundle.manifest


def test_a_folder_that_cannot_be_written_is_told(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeProblem) as caught:
        write_bundle(bundle, tmp_path / "file" / "out")
    assert caught.value.name == "cannot-write"


# ---- damage


def test_folders_that_are_no_bundles(tmp_path: Path) -> None:
    assert problem(tmp_path / "none").name == "no-such-bundle"
    assert problem(tmp_path).name == "not-a-bundle"
    (tmp_path / "file").write_text("")
    assert problem(tmp_path / "file").name == "not-a-bundle"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1}', "\xff", "[" * 100_000])
def test_manifests_that_are_none(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    assert problem(folder).name == "not-a-bundle"


def test_another_format_is_told(folder: Path) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**data, "format": 2}))
    assert "format 2; this pcnc reads format 1" in problem(folder).message


def test_every_file_is_looked_at(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    for path in bundle.files:
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        data = bytearray((copy / path).read_bytes())
        data[-1] ^= 1
        (copy / path).write_bytes(data)
        found = problem(copy)
        assert (found.name, "was changed" in found.message, path in found.message) == ("broken-bundle", True, True)
        (copy / path).unlink()
        assert f"lacks {path}" in problem(copy).message
        shutil.rmtree(copy)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_files_outside_are_not_read(folder: Path, path: str) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    data["hashes"].append([path, "0" * 64])
    (folder / "manifest.json").write_text(json.dumps(with_seal(data)))
    assert "outside" in problem(folder).message


def test_an_object_without_a_hash_is_not_trusted(folder: Path) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    data["hashes"] = [pair for pair in data["hashes"] if not pair[0].endswith("_sources.bpf.o")]
    (folder / "manifest.json").write_text(json.dumps(with_seal(data)))
    assert "but not its hash" in problem(folder).message


def first_table(data: Any) -> Any:
    return data["variants"][0]["tables"][0]


FAULTS: dict[str, Callable[[Any], object]] = {
    "there is no chain": lambda data: data.update(entries=[]),
    "there is no variant": lambda data: data.update(variants=[]),
    "table sources is there twice": lambda data: data["tables"].append(data["tables"][0]),
    "the slots are not 0, 1": lambda data: data["variants"][0]["chains"][0]["blocks"][0].update(slot=5),
    "has other chains": lambda data: data["variants"][0].update(chains=[]),
    "the shape of": lambda data: data["variants"][0]["shape"].update(tables=[]),
    "a table nowhere": lambda data: first_table(data).update(table="nowhere"),
    "there is no column 7": lambda data: first_table(data)["columns"][0].update(column=7),
    "places of another classifier": lambda data: first_table(data).update(classifier="list", value_size=64),
    "lies at 99": lambda data: first_table(data)["columns"][0]["first"].update(offset=99),
    "with 3 bytes": lambda data: first_table(data)["columns"][0]["first"].update(size=3),
    "a key of 0 bytes": lambda data: first_table(data).update(key_size=0),
    "action fly is not that": lambda data: first_table(data)["actions"][0].update(name="fly"),
    "has room for 0": lambda data: data["tables"][0]["schema"].update(size=0),
    "does not fit it": lambda data: data["tables"][0]["rules"][0].__setitem__(1, "fly"),
    "the frame has -1": lambda data: data["variants"][0]["chains"][0].update(frame_size=-1),
    "is there twice": lambda data: data["variants"][0]["chains"][0].update(reasons=["next", "next"]),
    "is no name": lambda data: data["tables"][1]["schema"].update(name="a.b"),
}


@pytest.mark.parametrize("told", list(FAULTS))
def test_a_manifest_that_contradicts_itself_is_told(folder: Path, told: str) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    FAULTS[told](data)
    (folder / "manifest.json").write_text(json.dumps(with_seal(data)))
    found = problem(folder)
    assert found.name == "broken-bundle"
    assert told in found.message


def test_a_sound_manifest_has_no_fault(bundle: Bundle) -> None:
    check_manifest(bundle.manifest)


# ---- the copy that a loaded service keeps


def test_a_copy_holds_what_a_change_of_rules_reads(bundle: Bundle, tmp_path: Path) -> None:
    stored = store_bundle(bundle, tmp_path)
    assert store_bundle(bundle, tmp_path).digest == stored.digest
    again = StoredBundle(tmp_path / stored.digest)
    assert to_json(again.manifest.schemas) == to_json(bundle.manifest.schemas)
    assert all(table.rules == () for table in again.manifest.tables)
    for variant in bundle.manifest.variants:
        found = again.exact(variant.shape)
        assert found is not None
        assert found.variant == variant
        for block in variant.chains[0].blocks:
            assert found.read(block.object) == bundle.files[block.object]
    (entry,) = bundle.manifest.entries
    assert again.read(entry.object) == bundle.files[entry.object]


def test_a_variant_that_is_added_is_found_again_and_the_smallest_that_covers_is_taken(bundle: Bundle, tmp_path: Path) -> None:
    written, general = bundle.manifest.variants
    stored = store_bundle(replace(bundle, manifest=replace(bundle.manifest, variants=(general,))), tmp_path)
    assert stored.exact(written.shape) is None
    assert stored.covering(written.shape).variant == general
    with pytest.raises(RuntimeProblem) as caught:
        stored.add(written, {})
    assert caught.value.name == "broken-bundle"
    stored.add(written, bundle.files)
    assert stored.covering(written.shape).variant == written
    assert StoredBundle(stored.folder).exact(written.shape) == stored.exact(written.shape)
    assert stored.exact(written.shape) is not None


def test_sources_are_kept_once(tmp_path: Path) -> None:
    source = SourceRecord("fw.pcn", TEXT, "firewall", "tc")
    digest = store_source(source, tmp_path)
    assert store_source(source, tmp_path) == digest
    assert stored_source(digest, tmp_path) == source
    assert store_source(None, tmp_path) == ""
    assert stored_source("", tmp_path) is None
    (tmp_path / f"{digest}.json").write_text("3")
    with pytest.raises(RuntimeProblem) as caught:
        stored_source(digest, tmp_path)
    assert caught.value.name == "broken-record"


def test_rules_of_the_file_are_part_of_what_names_a_copy(bundle: Bundle, tmp_path: Path) -> None:
    table = bundle.manifest.tables[0]
    other = replace(table, rules=(*table.rules, Rule((MaskedValue(0, 0),), "next")))
    changed = replace(bundle, manifest=replace(bundle.manifest, tables=(other, *bundle.manifest.tables[1:])))
    assert store_bundle(changed, tmp_path).digest != store_bundle(bundle, tmp_path).digest
