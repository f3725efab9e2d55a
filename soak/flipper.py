"""A process that flips a service between its two prepared generations, so many times a second, and another one in between.

It takes turns: for a segment of time it flips the one, then for as long the other, with the same work.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence

from pcnc_runtime import operations
from pcnc_runtime.phases import listening


def segment_of(moment: float, began: float, segment: float) -> int:
    """The number of the segment that a moment lies in."""
    return math.floor((moment - began) / segment)


def flip_in_turns(services: Sequence[str], began: float, segment: float, seconds: float, rate: float) -> list[list[float]]:
    """Rolls the services back, in turns; when each one's entry was written. Times by `time.perf_counter`. RuntimeProblem."""
    written: list[list[float]] = [[] for _ in services]
    number = 0
    while (due := began + number / rate) < began + seconds:
        time.sleep(max(0.0, due - time.perf_counter()))
        turn = segment_of(max(due, time.perf_counter()), began, segment) % len(services)
        with listening() as heard:
            operations.rollback(services[turn])
        written[turn] += [each.began for each in heard if each.name == "flip"]
        number = max(number + 1, math.ceil((time.perf_counter() - began) * rate))
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Flips, and prints when, service by service, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m soak.flipper", description="roll services back, in turns")
    parser.add_argument("services", nargs="+", metavar="NAME", help="loaded services that have a previous generation")
    parser.add_argument("--began", type=float, required=True, help="when the first segment begins: seconds, CLOCK_MONOTONIC")
    parser.add_argument("--segment", type=float, required=True, help="seconds until it is the next one's turn")
    parser.add_argument("--seconds", type=float, required=True, help="how long, all in all")
    parser.add_argument("--rate", type=float, required=True, help="flips a second")
    given = parser.parse_args(arguments)
    print(json.dumps(flip_in_turns(given.services, given.began, given.segment, given.seconds, given.rate)))


if __name__ == "__main__":
    main()
