"""Swaps between versions drawn at random, in great numbers: the tests of `tests/test_kernel_version_pairs.py`, run for longer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from soak.bounds import Bound, exactly

PAIRS = 200
"""How many pairs of random versions each hook sees."""

_ROOT = Path(__file__).parents[1]
_TESTS = "tests/test_kernel_version_pairs.py"


@dataclass(frozen=True, slots=True)
class Pairs:
    """The tests with so many `pairs`: how many ran, and of them failed or did not run at all; what the first of these said."""

    pairs: int
    seconds: float
    tests: int
    failed: int
    skipped: int
    words: str

    def bounds(self) -> tuple[Bound, ...]:
        """What must hold."""
        return (
            Bound("random pairs at each hook", f"{self.pairs:,}"),
            Bound("tests, in", f"{self.tests}, {self.seconds:.0f} s"),
            exactly("tests that failed", self.failed),
            exactly("tests that could not run", self.skipped),
        )


def measure_pairs(pairs: int = PAIRS) -> Pairs:
    """Runs the tests with so many pairs. RuntimeError, with pytest's words, where it does not come to run them."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pcnc-soak-") as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", _TESTS, f"--junitxml={report}"]
        environment = {**os.environ, "PCNC_SWAP_PAIRS": str(pairs)}
        done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return read_report(report, pairs, time.perf_counter() - began)


def read_report(report: Path, pairs: int, seconds: float) -> Pairs:
    """What a JUnit report of pytest says. RuntimeError where it tells of no test."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    if not cases:
        raise RuntimeError("pytest ran no test")
    bad = [found for case in cases for kind in ("failure", "error") if (found := case.find(kind)) is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return Pairs(pairs, seconds, len(cases), len(bad), skipped, bad[0].get("message", "") if bad else "")
