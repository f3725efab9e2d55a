"""`make soak`: the full numbers of what swaps promise, printed beside the bounds; as root, in a good while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from bench.run_measurements import Measured, Show, run_measurements
from bench.swaps import measure_swaps
from soak.bounds import all_hold, at_least, bounds_table, exactly


def _swaps(show: Show) -> Measured:
    result = measure_swaps(progress=lambda done: show(f"{done:,} swaps"))
    bounds = (
        at_least("swaps", result.swaps, 1_000),
        at_least("packets sent", result.sent, 1_000_000),
        exactly("lost", result.lost),
        exactly("wrong verdicts", result.wrong),
    )
    return result, bounds_table("Swaps of two versions of the firewall", bounds), all_hold(bounds)


MEASUREMENTS: Mapping[str, Callable[[Show], Measured]] = {"swaps": _swaps}
"""By name, what runs: its results, a table of its bounds, and whether all of these held. Each part of a soak is one line here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts asked for, all without a name; 1 where a bound was missed or the kernel refused."""
    return run_measurements("soak", "Run what swaps promise, in full numbers. Needs root.", MEASUREMENTS, arguments)


if __name__ == "__main__":
    sys.exit(main())
