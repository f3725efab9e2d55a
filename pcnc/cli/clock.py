"""Times of day as people read them, and as programs do."""

from __future__ import annotations

import time


def at(seconds: float) -> str:
    """`16:02:11` today, else with the date; `seconds` since the epoch."""
    then = time.localtime(seconds)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)


def iso(seconds: float) -> str:
    """The same as ISO 8601 has it, in local time with its distance from UTC."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")
