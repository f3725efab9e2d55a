"""Counts that are written down, because the maps that hold them go with the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pcnc_runtime.counts import NO_GENERATION, open_count_maps, total
from pcnc_runtime.pins import open_map
from pcnc_runtime.record_files import broken, read_json, write_json
from pcnc_runtime.records import Carried, Generation, State
from pcnc_runtime.state import Place, told


def _file(place: Place) -> Path:
    return place.folder / "counts.json"


def save_counts(place: Place, state: State) -> None:
    """Writes down what a loaded service has counted until now, under its lock."""
    maps = open_count_maps(place, state, state.mentioned, lru_cache(maxsize=4)(place.read_record))
    try:
        reasons, rules = total(maps, state.carried)
    finally:
        maps.close()
    for chain in state.summaries[state.kept[0]].chains:
        try:
            with open_map(place.pins / f"fallen_{chain}") as fallen:
                count = (fallen.sum_per_cpu(0) or (0,))[0]
        except FileNotFoundError:
            continue
        counts = reasons.setdefault(chain, {})
        counts[NO_GENERATION] = counts.get(NO_GENERATION, 0) + count
    with told(f"write {_file(place)}"):
        write_json(_file(place), {"reasons": reasons, "rules": rules})


def with_saved_counts(place: Place, carried: Carried, kept: Sequence[Generation]) -> Carried:
    """What is carried, with the counts that were written down, for the generations that are going to be kept.

    Totals never go down: of two that are known the larger one is the later. RuntimeProblem `broken-record`.
    """
    try:
        data = read_json(_file(place))
    except FileNotFoundError:
        return carried
    try:
        reasons = {chain: _larger(counts, carried.reasons.get(chain, {})) for chain, counts in data["reasons"].items()}
        alive = {
            name: {0, *(rule.id for record in kept if name in record.tables for rule in record.tables[name].rules)}
            for name in data["rules"]
        }
        rules = {name: _rules(counts, carried.rules.get(name, {}), alive[name]) for name, counts in data["rules"].items()}
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise broken(_file(place), repr(error)) from None
    return Carried({**carried.reasons, **reasons}, {**carried.rules, **rules})


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in {**one, **other}}


def _rules(saved: Mapping[str, Any], carried: Mapping[int, tuple[int, int]], alive: set[int]) -> dict[int, tuple[int, int]]:
    found = dict(carried)
    for text, (packets, length) in saved.items():
        if (id := int(text)) in alive:
            before = found.get(id, (0, 0))
            found[id] = (max(before[0], packets), max(before[1], length))
    return found
