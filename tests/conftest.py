"""The three rings: which tests run where, and that a run which must have the kernel skips nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from bench.lab import Lab
from pcnc_runtime.bcc import find_bcc
from pcnc_runtime.build import find_clang
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.kernel_maps import MapType, create_map
from tests.seed import IS_CHOSEN

if TYPE_CHECKING:
    from tests.live_service import Wire

_RINGS = ("text", "clang", "kernel")
_SKIPS_FAIL = os.environ.get("PCNC_REQUIRE_KERNEL") == "1"

settings.register_profile("pcnc", derandomize=not IS_CHOSEN)
settings.load_profile("pcnc")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and what they start inherits that: here it is a thing that is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that names no ring is one of text."""
    for item in items:
        if not any(item.get_closest_marker(ring) for ring in _RINGS):
            item.add_marker("text")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine cannot run, and says why."""
    in_kernel = item.get_closest_marker("kernel") is not None
    if (in_kernel or item.get_closest_marker("clang") is not None) and (reason := _why_no_clang()):
        pytest.skip(reason)
    if item.get_closest_marker("bcc") is not None and (reason := _why_no_bcc()):
        pytest.skip(reason)
    if in_kernel and (reason := _why_no_kernel()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skip into a failure where PCNC_REQUIRE_KERNEL=1."""
    report = yield
    if _SKIPS_FAIL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped here (PCNC_REQUIRE_KERNEL=1): {reason}"
    return report


@cache
def _why_no_clang() -> str:
    try:
        find_clang()
    except RuntimeProblem as problem:
        return problem.message
    return ""


@cache
def _why_no_bcc() -> str:
    try:
        find_bcc()
    except RuntimeProblem as problem:
        return problem.message
    return ""


@cache
def _why_no_kernel() -> str:
    try:
        create_map(MapType.PROG_ARRAY, 4, 4, 1).close()
    except RuntimeProblem as problem:
        return problem.message
    except OSError as error:
        return f"no eBPF here: {error}"
    return ""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Network namespaces and veth pairs, gone after the test."""
    with Lab() as made:
        yield made


@pytest.fixture
def wire(lab: Lab) -> Iterator[Wire]:
    """Two namespaces on a wire, gone after the test."""
    from tests.live_service import Wire  # tests that want no kernel import nothing of it

    with Wire(lab) as made:
        yield made
