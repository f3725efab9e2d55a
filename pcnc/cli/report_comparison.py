"""How the difference of two versions is told: a few marked lines a chain, table and setting, or JSON.

`=` is kept, `~` changed, rebuilt or migrated, `+` new, `-` gone, and `!` would be lost: it reads without colours, too.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pcnc.cli.report import in_colour, painted
from pcnc.cli.report_misfits import misfit_to_json, print_misfit, shape_to_json

if TYPE_CHECKING:
    from pcnc_runtime.compare_versions import (
        ChainChange,
        Comparison,
        RuleCounts,
        SettingChange,
        StateFate,
        TableChange,
    )
    from pcnc_runtime.misfits import Misfit

_MARKS = {
    "kept": "=",
    "changed": "~",
    "rebuilt": "~",
    "migrated": "~",
    "added": "+",
    "new": "+",
    "removed": "-",
    "gone": "-",
    "lost": "!",
}
_COLOURS = {"=": "2", "~": "33", "+": "32", "-": "31", "!": "1;31"}
_FATES = ("kept", "migrated", "new", "gone", "lost")


def tell_comparison(comparison: Comparison) -> None:
    """Prints what would change."""
    print("\n".join(_lines(comparison)))


def tell_unfit(misfits: Sequence[Misfit]) -> None:
    """Prints what does not fit, both shapes side by side."""
    from pcnc_runtime.misfits import headline, side_by_side

    if not misfits:
        return
    print(painted(headline(misfits), "1;31"))
    if not in_colour(sys.stdout):
        print("\n".join(side_by_side(misfits)))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for misfit in misfits:
        print_misfit(console, misfit)


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"{painted(comparison.old, '1')} -> {painted(comparison.new, '1')}"
    for chain in comparison.chains:
        yield from _chain(chain)
    if comparison.tables:
        yield painted("tables", "1")
    for table in comparison.tables:
        yield from _table(table)
    if comparison.settings:
        yield painted("settings", "1")
        yield from _settings(comparison.settings)
    found = Counter[str](state.fate for state in comparison.maps)
    yield f"maps: {', '.join(f'{found[fate]} {fate}' for fate in _FATES)}"


def _marked(indent: int, what: str, text: str) -> str:
    mark = _MARKS[what]
    return " " * indent + painted(f"{mark} {text}".rstrip(), _COLOURS[mark])


def _chain(chain: ChainChange) -> Iterator[str]:
    mark = "" if chain.change in ("kept", "changed") else f" {_MARKS[chain.change]}"
    yield painted(f"chain {chain.chain}", "1") + mark
    width = max((len(block.name) for block in chain.blocks), default=0)
    for block in chain.blocks:
        yield _marked(2, block.change, f"{block.name:<{width}}  {block.change:<7}  {block.summary}")
    for what, fields in (("added", chain.parses_added), ("removed", chain.parses_removed)):
        if fields:
            words = "also parses" if what == "added" else "no longer parses"
            yield _marked(2, what, f"{words} {', '.join(fields)}")
    yield _state(2, chain.ends, "counts of ends")


def _state(indent: int, state: StateFate, what: str) -> str:
    return _marked(indent, state.fate, f"{what}: {state.fate}{f' ({state.how})' if state.how else ''}")


def _table(table: TableChange) -> Iterator[str]:
    yield _marked(2, table.change, table.table)
    differing = [row for row in table.shape if row.differs] if table.change == "changed" else []
    width = max((len(row.label) for row in differing), default=0)
    for row in differing:
        if row.before and row.after:
            yield _marked(6, "changed", f"{row.label:<{width}}  {row.before} -> {row.after}")
        else:
            yield _marked(6, "added" if row.after else "removed", f"{row.label:<{width}}  {row.after or row.before}")
    if words := _rules_in_words(table.rules):
        yield f"      rules: {words}"
    for state in table.state:
        yield _state(6, state, f"map of {state.what}")


def _rules_in_words(rules: RuleCounts) -> str:
    parts = [
        f"{rules.operator:,} of the operator go over" if rules.operator != 1 else "1 of the operator goes over",
        f"{rules.unfit:,} of the operator {'does' if rules.unfit == 1 else 'do'} not fit",
        f"{rules.kept:,} of the file kept",
        f"{rules.added:,} added",
        f"{rules.removed:,} removed",
        f"{rules.changed:,} changed",
    ]
    numbers = (rules.operator, rules.unfit, rules.kept, rules.added, rules.removed, rules.changed)
    return ", ".join(part for part, number in zip(parts, numbers, strict=True) if number)


def _settings(settings: Sequence[SettingChange]) -> Iterator[str]:
    width = max(len(setting.setting) for setting in settings)
    for setting in settings:
        types = {row.label: row for row in setting.shape}["type"]
        type = types.after or types.before
        shown = f"{types.before} -> {types.after}" if types.before and types.after and types.differs else type
        fate = setting.value.fate
        what = setting.change if fate == "kept" else fate
        yield _marked(2, what, f"{setting.setting:<{width}}  {shown}: {fate} ({setting.value.how})")


# ---- for programs


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """What would change, for programs. `fits` is false where a swap would be refused."""
    found = Counter[str](state.fate for state in comparison.maps)
    return {
        "old": comparison.old,
        "new": comparison.new,
        "fits": not comparison.refused,
        "chains": [_chain_to_json(chain) for chain in comparison.chains],
        "tables": [_table_to_json(table) for table in comparison.tables],
        "settings": [
            {
                "setting": setting.setting,
                "change": setting.change,
                "shape": shape_to_json(setting.shape),
                "value": _state_to_json(setting.value),
            }
            for setting in comparison.settings
        ],
        "maps": {fate: found[fate] for fate in _FATES},
        "misfits": [{**misfit_to_json(each), "refused": each in comparison.refused} for each in comparison.misfits],
    }


def _chain_to_json(chain: ChainChange) -> dict[str, Any]:
    return {
        "chain": chain.chain,
        "change": chain.change,
        "blocks": [{"name": block.name, "change": block.change, "summary": block.summary} for block in chain.blocks],
        "parses": {"added": list(chain.parses_added), "removed": list(chain.parses_removed)},
        "state": [_state_to_json(chain.ends)],
    }


def _table_to_json(table: TableChange) -> dict[str, Any]:
    rules = table.rules
    return {
        "table": table.table,
        "change": table.change,
        "shape": shape_to_json(table.shape),
        "rules": {
            "file": {"kept": rules.kept, "added": rules.added, "removed": rules.removed, "changed": rules.changed},
            "operator": {"kept": rules.operator, "unfit": rules.unfit},
        },
        "state": [_state_to_json(state) for state in table.state],
    }


def _state_to_json(state: StateFate) -> dict[str, Any]:
    return {"what": state.what, "fate": state.fate, "how": state.how}
