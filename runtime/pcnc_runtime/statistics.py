"""Reading the counts of a loaded service, once or ten times a second."""

from __future__ import annotations

from typing import Self

from pcnc_runtime.facts import Statistics


class Watcher:
    """Reads the counts of a service again and again, with its maps kept open; it follows the service through swaps.

    A context manager, or ended by `close`. RuntimeProblem `not-loaded`, also from `read` once the service is unloaded.
    """

    def __init__(self, name: str) -> None:
        raise NotImplementedError

    def read(self) -> Statistics:
        """All counts now."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the maps."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
