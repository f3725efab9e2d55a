"""`make bench`: measures, and prints what came out; as root, in a few minutes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Group

from bench.classify import classify
from bench.commands import time_commands
from bench.flips import FLIP_BOUND, measure_flips
from bench.report import classify_table, commands_table, effects_table, flips_table, swaps_table, toolchains_table
from bench.run_measurements import Measured, Show, run_measurements
from bench.swaps import measure_swaps
from bench.toolchains import measure_toolchains


def _classify(show: Show) -> Measured:
    rows = []
    for row in classify():
        rows.append(row)
        show(f"{row.sources:,} and {row.destinations:,} rules, {row.packets:,} packets")
    return rows, classify_table(rows), True


def _commands(show: Show) -> Measured:
    rows = time_commands(progress=show)
    return rows, commands_table(rows), True


def _swaps(show: Show) -> Measured:
    result = measure_swaps(progress=lambda done: show(f"{done:,} swaps"))
    return result, swaps_table(result), result.lost == 0 and result.wrong == 0


def _flips(show: Show) -> Measured:
    rows = measure_flips(progress=show)
    quick = all(max(row.last, row.write) < FLIP_BOUND for row in rows if row.rules)
    return rows, Group(effects_table(rows), "", flips_table(rows)), quick


def _toolchains(show: Show) -> Measured:
    rows = measure_toolchains(progress=show)
    return rows, toolchains_table(rows), True


MEASUREMENTS = {"classify": _classify, "commands": _commands, "toolchains": _toolchains, "flips": _flips, "swaps": _swaps}
"""By name, what measures: its results, a table of them, and whether what must hold did hold."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the measurements asked for, all without a name; 1 where packets were lost, a flip was slow, or the kernel refused."""
    return run_measurements("bench", "Measure what the project promises. Needs root.", MEASUREMENTS, arguments)


if __name__ == "__main__":
    sys.exit(main())
