"""`make bench`: measures, and prints what came out; as root, in a few minutes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status

from bench.classify import classify
from bench.commands import time_commands
from bench.report import classify_table, commands_table, machine_in_words, swaps_table, this_machine, to_json
from bench.swaps import measure_swaps
from pcnc_runtime.errors import RuntimeProblem

Show = Callable[[str], None]
"""Takes a word on how far it is."""

_WIDTH = 110
"""Columns where there is no terminal that has some."""


def _classify(show: Show) -> tuple[Any, RenderableType, bool]:
    rows = []
    for row in classify():
        rows.append(row)
        show(f"{row.sources:,} and {row.destinations:,} rules, {row.packets:,} packets")
    return rows, classify_table(rows), True


def _commands(show: Show) -> tuple[Any, RenderableType, bool]:
    rows = time_commands(progress=show)
    return rows, commands_table(rows), True


def _swaps(show: Show) -> tuple[Any, RenderableType, bool]:
    result = measure_swaps(progress=lambda done: show(f"{done:,} swaps"))
    return result, swaps_table(result), result.lost == 0 and result.wrong == 0


MEASUREMENTS = {"classify": _classify, "commands": _commands, "swaps": _swaps}
"""By name, what measures: its results, a table of them, and whether what must hold did hold."""


def _tell(status: Status, name: str, word: str) -> None:
    status.update(f"{name}: {word}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the measurements asked for, all without a name; 1 where packets were lost or the kernel refused."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what the project promises. Needs root.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(MEASUREMENTS)}; all, if none is given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in MEASUREMENTS]:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=_WIDTH)
    machine = this_machine()
    results: dict[str, Any] = {"machine": asdict(machine)}
    held = True
    if not given.json:
        out.print(machine_in_words(machine))
    with Console(stderr=True).status("") as status:
        for name in given.names or MEASUREMENTS:
            status.update(f"{name}…")
            try:
                result, table, good = MEASUREMENTS[name](partial(_tell, status, name))
            except (RuntimeProblem, RuntimeError, OSError) as problem:
                print(f"bench: {name}: {problem}", file=sys.stderr)
                held = False
                continue
            results[name] = to_json(result)
            held = held and good
            if not given.json:
                out.print()
                out.print(table)
    if given.json:
        print(json.dumps(results, indent=2))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
