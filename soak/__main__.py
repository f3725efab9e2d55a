"""`make soak`: the full numbers of what swaps promise, printed beside the bounds; as root, in a good while."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Group
from rich.text import Text

from bench.flips import FLIP_BOUND, measure_flips
from bench.report import effects_table, flips_table
from bench.run_measurements import Measured, Show, run_measurements
from soak.bounds import all_hold, at_most, bounds_table
from soak.clients import clients_table, measure_clients
from soak.faults import failures_in_words, faults_bounds, faults_table, measure_faults
from soak.kills import faults_in_words, kills_bounds, kills_table, measure_kills
from soak.mixed import Amounts, measure_mixed, mixed_table
from soak.pairs import PAIRS, measure_pairs
from soak.sequences import play_sequence, sequence_bounds


def _mixed(show: Show) -> Measured:
    wanted = Amounts()
    result = measure_mixed(wanted, show)
    bounds = result.bounds(wanted)
    return result, mixed_table(bounds), all_hold(bounds)


def _flips(show: Show) -> Measured:
    rows = measure_flips(changes=200, versions=20, link_updates=100, progress=show)
    bounds = [
        at_most(f"{row.what}, {row.rules:,} rules", row.last * 1e6, FLIP_BOUND * 1e6, "{:.0f} µs") for row in rows if row.rules
    ]
    held = bounds_table("From the write of a flip to the last packet that the old version treated", bounds)
    return rows, Group(effects_table(rows), "", flips_table(rows), "", held), all_hold(bounds)


def _clients(show: Show) -> Measured:
    result = measure_clients(progress=show)
    bounds = result.bounds()
    return result, clients_table(bounds), all_hold(bounds)


def _kills(show: Show) -> Measured:
    result = measure_kills(show, seed=int(time.time()))
    bounds = kills_bounds(result)
    words = Text(faults_in_words(result.deaths))
    return result, Group(kills_table(result), "", bounds_table("What must hold", bounds), words), all_hold(bounds)


def _faults(show: Show) -> Measured:
    result = measure_faults(show)
    bounds = faults_bounds(result)
    words = Text(failures_in_words(result.failures))
    return result, Group(faults_table(result), "", bounds_table("What must hold", bounds), words), all_hold(bounds)


def _pairs(show: Show) -> Measured:
    show(f"{PAIRS} pairs at each hook")
    result = measure_pairs()
    bounds = result.bounds()
    return result, bounds_table("Swaps between versions drawn at random", bounds, result.words), all_hold(bounds)


def _sequences(show: Show) -> Measured:
    result = play_sequence(400, seed=int(time.time()), show=show)
    bounds = sequence_bounds(result)
    caption = f"seed {result.seed}; {result.seconds / 60:.0f} minutes"
    words = Text("\n".join((*result.left, *result.faults)[:20]))
    return (
        result,
        Group(bounds_table("Random commands, and what is left after each unload", bounds, caption), words),
        all_hold(bounds),
    )


MEASUREMENTS: Mapping[str, Callable[[Show], Measured]] = {
    "mixed": _mixed,
    "flips": _flips,
    "clients": _clients,
    "kills": _kills,
    "faults": _faults,
    "pairs": _pairs,
    "sequences": _sequences,
}
"""By name, what runs: its results, a table of its bounds, and whether all of these held. Each part of a soak is one line here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts asked for, all without a name; 1 where a bound was missed or the kernel refused."""
    return run_measurements("soak", "Run what swaps promise, in full numbers. Needs root.", MEASUREMENTS, arguments)


if __name__ == "__main__":
    sys.exit(main())
