"""`make soak`: the full numbers of what swaps promise, printed beside the bounds; as root, in a good while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from bench.run_measurements import Measured, Show, run_measurements
from soak.bounds import all_hold
from soak.mixed import Amounts, measure_mixed, mixed_table


def _mixed(show: Show) -> Measured:
    wanted = Amounts()
    result = measure_mixed(wanted, show)
    bounds = result.bounds(wanted)
    return result, mixed_table(bounds), all_hold(bounds)


MEASUREMENTS: Mapping[str, Callable[[Show], Measured]] = {"mixed": _mixed}
"""By name, what runs: its results, a table of its bounds, and whether all of these held. Each part of a soak is one line here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts asked for, all without a name; 1 where a bound was missed or the kernel refused."""
    return run_measurements("soak", "Run what swaps promise, in full numbers. Needs root.", MEASUREMENTS, arguments)


if __name__ == "__main__":
    sys.exit(main())
