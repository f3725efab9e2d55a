"""The command `pcnc`: the only place that prints, exits, or knows both a backend and the runtime."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line of this process and exits: 0 done, 1 a problem, 2 used wrongly, 130 interrupted."""
    sys.unraisablehook = _unraisable
    try:
        from pcnc.cli.application import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("pcnc: interrupted", file=sys.stderr)
        status = 130
    # What was to be written is written. Python would take ten milliseconds to end, in which Ctrl-C kills, and it kills itself
    # where Ctrl-C had come while it was making a class, however well that was dealt with.
    os._exit(status)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """What was raised where Python can only pass over it. Had it been Ctrl-C, that is repeated a moment later, elsewhere."""
    if issubclass(found.exc_type, KeyboardInterrupt):
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    elif os.environ.get("PCNC_DEBUG") == "1":
        sys.__unraisablehook__(found)
