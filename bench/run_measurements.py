"""What `python -m bench` and `python -m soak` share: measurements by name run one after another, and printed as each ends."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console, RenderableType
from rich.status import Status

from bench.report import machine_in_words, this_machine, to_json
from pcnc_runtime.errors import RuntimeProblem

Show = Callable[[str], None]
"""Takes a word on how far it is."""

Measured = tuple[Any, RenderableType, bool]
"""Results (a dataclass, or a list of one), what people see of them, and whether what must hold did hold."""

_INTERRUPTED = 128 + signal.SIGINT

_WIDTH = 110
"""Columns where there is no terminal that has some."""


def run_measurements(
    package: str, description: str, measurements: Mapping[str, Callable[[Show], Measured]], arguments: Sequence[str] | None
) -> int:
    """Runs the measurements asked for, all without a name; 1 where something did not hold, or the kernel refused.

    Ctrl-C ends it with 130.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(measurements)}; all, if none is given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in measurements]:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(measurements)}")
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=_WIDTH)
    machine = this_machine()
    results: dict[str, Any] = {"machine": asdict(machine)}
    held = True
    if not given.json:
        out.print(machine_in_words(machine))
    with Console(stderr=True).status("") as status:
        for name in given.names or measurements:
            status.update(f"{name}…")
            try:
                result, table, good = measurements[name](partial(_tell, status, name))
            except (RuntimeProblem, RuntimeError, OSError) as problem:
                print(f"{package}: {name}: {problem}", file=sys.stderr)
                held = False
                continue
            except KeyboardInterrupt:
                print(f"{package}: {name}: interrupted; what it had made is removed", file=sys.stderr)
                return _INTERRUPTED
            results[name] = to_json(result)
            held = held and good
            if not given.json:
                out.print()
                out.print(table)
    results["held"] = held
    if given.json:
        print(json.dumps(results, indent=2))
    return 0 if held else 1


def _tell(status: Status, name: str, word: str) -> None:
    status.update(f"{name}: {word}")
