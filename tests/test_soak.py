"""What `make soak` stands on: a bound that is missed is told, and told by the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

import pytest
from rich.console import Console

from bench.run_measurements import Measured, Show, run_measurements
from pcnc_runtime.errors import RuntimeProblem
from soak.bounds import Bound, all_hold, at_least, at_most, bounds_table, exactly


@dataclass(frozen=True, slots=True)
class Found:
    lost: int


def part(lost: int) -> Callable[[Show], Measured]:
    def measured(show: Show) -> Measured:
        show("counting")
        bounds = (exactly("lost", lost), Bound("packets a second", "7"))
        return Found(lost), bounds_table("Losses", bounds), all_hold(bounds)

    return measured


def refused(show: Show) -> Measured:
    raise RuntimeProblem("no-privilege", "the kernel says no")


@pytest.mark.parametrize(
    ("bound", "held"),
    [
        (exactly("mixed", 0), True),
        (exactly("mixed", 1), False),
        (exactly("flips", 3, 3), True),
        (at_least("flips", 10_000, 10_000), True),
        (at_least("flips", 9_999, 10_000), False),
        (at_most("flip", 0.001, 0.001, "{:.3f} s"), True),
        (at_most("flip", 0.0011, 0.001, "{:.4f} s"), False),
    ],
)
def test_a_bound_holds_up_to_the_bound_itself(bound: Bound, held: bool) -> None:
    assert bound.held is held
    assert all_hold([bound, Bound("said", "only")]) is held


def test_people_see_which_bound_was_missed() -> None:
    out = Console(file=StringIO(), width=100)
    out.print(bounds_table("Losses [all]", (exactly("lost", 3), exactly("mixed", 0), Bound("rate", "7"))))
    assert isinstance(out.file, StringIO)
    lines = out.file.getvalue().splitlines()
    assert lines[0].strip() == "Losses [all]"
    (lost,) = (line for line in lines if "lost" in line)
    (mixed,) = (line for line in lines if "mixed" in line)
    (rate,) = (line for line in lines if "rate" in line)
    assert ("FAIL" in lost, "pass" in mixed) == (True, True)
    assert "pass" not in rate
    assert "FAIL" not in rate


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_a_missed_bound_is_the_exit_status(lost: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_measurements("soak", "", {"losses": part(lost), "others": part(0)}, ["losses", "--json"]) == status
    said = json.loads(capsys.readouterr().out)
    assert said["losses"] == {"lost": lost}
    assert said["held"] is (lost == 0)
    assert "others" not in said
    assert "kernel" in said["machine"]


def test_one_that_cannot_run_does_not_end_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_measurements("soak", "", {"refused": refused, "losses": part(0)}, []) == 1
    out, err = capsys.readouterr()
    assert "soak: refused: the kernel says no" in err
    assert "Losses" in out


def test_who_interrupts_it_is_told_that_nothing_remains(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(show: Show) -> Measured:
        raise KeyboardInterrupt

    assert run_measurements("soak", "", {"long": interrupted, "losses": part(0)}, []) == 130
    out, err = capsys.readouterr()
    assert "soak: long: interrupted" in err
    assert "Losses" not in out
