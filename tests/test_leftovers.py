"""What commands that were killed leave on the disk and in bpffs, the next command on the service takes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import AddRule, change_rules, unload
from pcnc_runtime.pins import make_directory
from pcnc_runtime.state import Place, place_of, run_folder
from tests.live_service import FIREWALL, Wire, loaded, new_name, prefix

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("PCNC_STATE", str(tmp_path / "state"))


def half_written(place: Place) -> list[Path]:
    """Files and folders as somebody leaves them who is killed while writing a bundle, a variant, a record, a source, the state."""
    (bundle,) = place.bundles.iterdir()
    folders = [
        place.bundles / ".0123456789abcdef-x7",
        bundle / "variants" / ".0123456789abcdef-x7",
        place.bundles / "fedcba9876543210",
    ]
    for folder in folders:
        (folder / "ingress").mkdir(parents=True)
        (folder / "ingress" / "0_first.bpf.o").write_bytes(b"\x7fELF")
    files = [
        place.folder / ".state.json-7",
        place.record(1).with_name(".2.json-7"),
        place.sources / ".0123456789abcdef.json-7",
        place.sources / "fedcba9876543210.json",
    ]
    for file in files:
        file.write_text("half")
    return [*folders, *files]


def test_what_was_being_written_is_gone_after_the_next_change(wire: Wire) -> None:
    with loaded(wire, FIREWALL) as name:
        left = half_written(place_of(name))
        change_rules(name, [AddRule("sources", prefix("10.1.0.0/16"))])
        assert [path for path in left if path.exists()] == []


@pytest.mark.parametrize("command", ["unload", "rules"])
@pytest.mark.parametrize("made", ["the lock", "a folder of pins", "a folder of records"])
def test_of_a_load_that_was_killed_at_its_beginning_nothing_remains(command: str, made: str) -> None:
    name = new_name()
    place = place_of(name)
    if made == "the lock":
        run_folder().mkdir(parents=True)
        place.lock.touch()
    elif made == "a folder of pins":
        make_directory(place.pins)
    else:
        place.bundles.mkdir(parents=True)
    with pytest.raises(RuntimeProblem) as caught:
        unload(name) if command == "unload" else change_rules(name, [])
    assert caught.value.name == "not-loaded"
    assert [path for path in (place.lock, place.pins, place.folder, run_folder()) if path.exists()] == []
