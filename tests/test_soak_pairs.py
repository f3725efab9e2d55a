"""What `make soak` makes of a run of tests: a failure, an error and a skip are each told."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.pairs import read_report

CASES = {
    "good": '<testcase name="a"/>',
    "failure": '<testcase name="b"><failure message="pair 3: it differs"/></testcase>',
    "error": '<testcase name="c"><error message="no such device"/></testcase>',
    "skipped": '<testcase name="d"><skipped message="no kernel"/></testcase>',
}


def report(folder: Path, *kinds: str) -> Path:
    path = folder / "report.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(CASES[kind] for kind in kinds)}</testsuite></testsuites>")
    return path


def test_all_good(tmp_path: Path) -> None:
    found = read_report(report(tmp_path, "good", "good"), 7, 1.0)
    assert (found.tests, found.failed, found.skipped, found.words) == (2, 0, 0, "")
    assert all(bound.held for bound in found.bounds())


@pytest.mark.parametrize("kind", ["failure", "error", "skipped"])
def test_each_that_is_not_is_a_miss(tmp_path: Path, kind: str) -> None:
    found = read_report(report(tmp_path, "good", kind), 7, 1.0)
    assert not all(bound.held for bound in found.bounds())


def test_the_first_failure_is_quoted(tmp_path: Path) -> None:
    assert read_report(report(tmp_path, "failure", "error"), 7, 1.0).words == "pair 3: it differs"


def test_no_test_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no test"):
        read_report(report(tmp_path), 7, 1.0)
