"""What expressions must know of headers: their fields' types, `inner`, and which value of a field means which header."""

from __future__ import annotations

from dataclasses import dataclass, field

from pcnc.expression import Compare, Constant, Expression, FieldRead, FieldRef, Logic
from pcnc.parse_graph import Either, HeaderInstance
from pcnc.types import Type


@dataclass(slots=True)
class FieldTable:
    """Filled while headers are resolved, read afterwards. Keys are names of instances and of eithers."""

    fields: dict[str, dict[str, Type]] = field(default_factory=dict)
    assignable: dict[FieldRef, bool] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)
    """`vlan` → `vlan.inner`."""
    constants: dict[FieldRef, dict[str, int]] = field(default_factory=dict)
    """`ipv4.proto` → `tcp` → 6, from `header tcp after ipv4 when ipv4.proto == 6`."""

    def add_constants(self, instance: HeaderInstance) -> None:
        """Notes the values by which this header's parents announce it."""
        for parent in instance.parents:
            for read, value in _equalities(parent.condition):
                self.constants.setdefault(read, {}).setdefault(instance.header, value)

    def add_either(self, either: Either) -> None:
        """Gives an either's fields the constants of all its members."""
        self.fields[either.name] = {f.name: f.type for f in either.fields}
        for common in either.fields:
            self.assignable[FieldRef(either.name, common.name)] = common.assignable
            merged: dict[str, int] = {}
            for member in either.members:
                merged |= self.constants.get(FieldRef(member, common.name), {})
            if merged:
                self.constants[FieldRef(either.name, common.name)] = merged


def _equalities(condition: Expression | None) -> list[tuple[FieldRef, int]]:
    """The `FIELD == CONSTANT` that must all hold for a condition to hold."""
    match condition:
        case Logic("and", left, right):
            return _equalities(left) + _equalities(right)
        case Compare("==", FieldRead(read), Constant(value)) | Compare("==", Constant(value), FieldRead(read)):
            return [(read, value)]
        case _:
            return []
