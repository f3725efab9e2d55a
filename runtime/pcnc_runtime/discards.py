"""What an operator is ready to lose: the names that say so, and the refusal where something else would be lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.misfits import Misfit, headline, side_by_side

ALL = "all"
"""In `--discard`: whatever does not fit."""


def check_discards(discard: Collection[str], tables: Collection[str], settings: Collection[str]) -> None:
    """RuntimeProblem `nothing-to-discard` where a name is neither a table nor a setting of the running version."""
    known = [*tables, *settings]
    for name in discard:
        if name != ALL and name not in known:
            help = f"it has {', '.join(f'`{each}`' for each in known)}; `{ALL}` stands for everything" if known else ""
            text = f"the running version has neither a table nor a setting `{name}`"
            raise RuntimeProblem("nothing-to-discard", text, help)


def refuse(misfits: Sequence[Misfit]) -> RuntimeProblem:
    """The problem `rules-do-not-fit`, or `settings-do-not-fit` where all rules fit."""
    text = "\n".join((headline(misfits), *side_by_side(misfits)))
    help = f"{discards(misfits)} drops what does not fit, and nothing else"
    found = tuple(misfits)
    if any(misfit.rules for misfit in misfits):
        return RuntimeProblem("rules-do-not-fit", text, help, misfits=found)
    return RuntimeProblem("settings-do-not-fit", text, help, misfits=found)


def discards(misfits: Sequence[Misfit]) -> str:
    """`--discard sources --discard least`."""
    return " ".join(f"--discard {misfit.name}" for misfit in misfits)
