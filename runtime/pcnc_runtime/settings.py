"""The settings of a service: whether values fit them."""

from __future__ import annotations

from collections.abc import Mapping

from pcnc.manifest import Manifest
from pcnc.types import Type
from pcnc_runtime.errors import RuntimeProblem


def checked_settings(manifest: Manifest, values: Mapping[str, int]) -> dict[str, int]:
    """The values, if all of them fit. RuntimeProblem `no-such-setting`, `bad-setting`."""
    plans = {plan.name: plan for plan in manifest.configs}
    for name, value in values.items():
        if name not in plans:
            known = ", ".join(f"`{each}`" for each in plans)
            help = f"there are {known}" if known else "it has none"
            raise RuntimeProblem("no-such-setting", f"service `{manifest.service}` has no setting `{name}`", help)
        type = plans[name].type
        if not 0 <= value <= type.maximum:
            raise RuntimeProblem("bad-setting", f"{value} does not fit `{name}: {type}`", f"{_allowed(type)} are allowed")
    return dict(values)


def _allowed(type: Type) -> str:
    return f"0 to {type.maximum}"


def kept_settings(old: Manifest, new: Manifest, values: Mapping[str, int]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The operator's values that the new version still has a setting for, of the same type, and notes of the others."""
    types = {plan.name: plan.type for plan in new.configs}
    before = {plan.name: plan.type for plan in old.configs}
    kept, notes = {}, []
    for name, value in values.items():
        if name in types and types[name] == before.get(name):
            kept[name] = value
        else:
            why = "is of another type now" if name in types else "is gone"
            notes.append(f"setting `{name}` {why}; the value it was given is dropped")
    return kept, tuple(notes)
