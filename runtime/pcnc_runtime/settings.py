"""The settings of a service: whether values fit them, and what becomes of values in another version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pcnc.manifest import Manifest
from pcnc.show_value import show_value
from pcnc.types import Type
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.fit_values import Unfit, fit_value
from pcnc_runtime.misfits import Misfit, setting_shapes


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


@dataclass(frozen=True, slots=True)
class MergedSettings:
    """The values that go over to a new version, and those that cannot."""

    values: Mapping[str, int]
    misfits: tuple[Misfit, ...] = ()


def merge_settings(old: Manifest, new: Manifest, values: Mapping[str, int]) -> MergedSettings:
    """Brings the values that settings were given to the settings of the same name of a new version.

    A value stays where it fits the new type. One that does not, or whose setting is gone, would be lost. Settings that were given
    none have no state: they start with what the new version says.
    """
    before = {plan.name: plan for plan in old.configs}
    after = {plan.name: plan for plan in new.configs}
    kept: dict[str, int] = {}
    misfits: list[Misfit] = []
    for name, value in values.items():
        had, has = before[name], after.get(name)
        try:
            if has is None:
                raise Unfit(f"it was set to {show_value(value, had.type)}, and the new version does not have it")
            kept[name] = fit_value(f"`{name}`", value, had.type, has.type)
        except Unfit as unfit:
            misfits.append(Misfit("setting", name, str(unfit), (), setting_shapes(had, has, value)))
    return MergedSettings(kept, tuple(misfits))
