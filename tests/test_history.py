"""The file of a service's history: lines that are added once, whatever the last one looks like, and not too many of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcnc_runtime import history
from pcnc_runtime.changes import SettingChange
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.history import add_entry, read_entries
from pcnc_runtime.history_entry import HistoryEntry, SomeRules, TableHistory

pytestmark = pytest.mark.text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def entry(generation: int, text: str = "10.0.0.0/8 -> drop") -> HistoryEntry:
    return HistoryEntry(
        number=0,
        generation=generation,
        previous=generation - 1 or None,
        when=1_700_000_000.25 + generation,
        what="rules",
        tables=(TableHistory("sources", SomeRules(5, (text,)), SomeRules(), SomeRules()),),
        settings=(SettingChange("limit", "10", "20"),),
        blocks=3,
        blocks_added=("sources",),
        blocks_removed=(),
        variant="general",
        exact=False,
        compiled=False,
        source="firewall.pcn",
        source_hash="ab" * 32,
        source_changed=True,
    )


def generations(path: Path) -> list[int]:
    entries = read_entries(path)
    assert (
        [each.number for each in entries] == list(range(entries[0].number, entries[0].number + len(entries))) if entries else True
    )
    return [each.generation for each in entries]


def test_what_is_added_is_read(path: Path) -> None:
    assert read_entries(path) == ()
    for generation in (1, 2, 3):
        add_entry(path, entry(generation))
    first, _, third = read_entries(path)
    assert (first.number, third.number, third.generation) == (1, 3, 3)
    assert third.tables == entry(3).tables
    assert third.settings == entry(3).settings
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_entry_is_there_once_however_often_it_is_added(path: Path) -> None:
    for generation in (1, 2, 2, 2, 1):
        add_entry(path, entry(generation))
    assert generations(path) == [1, 2, 1], "the same generation at another time is another entry"


def test_what_is_coming_is_read_once(path: Path) -> None:
    add_entry(path, entry(1))
    assert [each.number for each in read_entries(path, entry(2))] == [1, 2]
    add_entry(path, entry(2))
    assert [each.number for each in read_entries(path, entry(2))] == [1, 2]


@given(cut=st.integers(0, 2000), noise=st.binary(max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_left_of_a_line_the_next_one_follows(path: Path, cut: int, noise: bytes) -> None:
    path.unlink(missing_ok=True)
    add_entry(path, entry(1))
    whole = path.stat().st_size
    add_entry(path, entry(2))
    content = path.read_bytes()
    kept = content[: min(len(content), whole + cut)]
    path.write_bytes(kept if kept == content else kept + noise.replace(b"\n", b""))
    expected = [1, 2] if kept == content else [1]
    assert generations(path) == expected
    add_entry(path, entry(3))
    assert generations(path) == [*expected, 3]


def test_a_line_that_is_none_is_passed_over(path: Path) -> None:
    add_entry(path, entry(1))
    with path.open("ab") as file:
        file.write(b'\0\0\0\0\n{"number":7}\n[]\n')
    assert generations(path) == [1]
    add_entry(path, entry(1))
    add_entry(path, entry(2))
    assert generations(path) == [1, 2]


def test_long_lines_and_many_of_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_TAIL", 64)
    for generation in range(1, 6):
        add_entry(path, entry(generation, "x" * 1000))
    assert generations(path) == [1, 2, 3, 4, 5]


def test_the_oldest_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 20)
    monkeypatch.setattr(history, "_SLACK", 10)
    sizes = []
    for generation in range(1, 100):
        add_entry(path, entry(generation))
        sizes.append(path.stat().st_size)
    assert generations(path) == list(range(80, 100))
    assert max(sizes) < 32 * sizes[0], "the file does not grow for ever"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(RuntimeProblem) as caught:
        add_entry(path, entry(1))
    assert str(path) in caught.value.message
