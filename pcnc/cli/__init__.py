"""The command `pcnc`: the only place that prints, exits, or knows both a backend and the runtime."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line of this process and exits: 0 done, 1 a problem, 2 used wrongly, 130 interrupted."""
    try:
        from pcnc.cli.application import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("pcnc: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)
