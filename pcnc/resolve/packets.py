"""The packets that tests send: layers that can follow one another, and values that fit their fields."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import FieldRef
from pcnc.headers import ResolvedHeaders
from pcnc.parse_graph import HeaderInstance
from pcnc.program_tests import LayerValues, PacketTemplate, Payload
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.scope import Scope
from pcnc.types import unsigned

LONGEST = 65535
"""Bytes of a frame, the most that its length fields can tell."""


@dataclass(slots=True)
class Packets:
    """Resolves one packet."""

    headers: ResolvedHeaders
    scope: Scope
    found: Diagnostics
    previous: str = ""
    has_payload: bool = False
    truncate: int | None = None

    def resolve(self, written: tuple[syntax.PacketLayer, ...]) -> PacketTemplate | None:
        """The packet; None where a problem has been told."""
        made: list[LayerValues | Payload] = []
        count = len(self.found.found)
        for layer in written:
            if self.truncate is not None:
                self.found.add(problems.bad_layer("nothing stands behind `truncate`", layer.span))
                break
            match layer.name.text:
                case "payload":
                    size = self._count(layer, "payload(100)")
                    made.append(Payload(bytes(size)))
                    self.has_payload = True
                case "bytes":
                    made.append(Payload(self._bytes(layer)))
                    self.has_payload = True
                case "truncate":
                    self.truncate = self._count(layer, "truncate(40)")
                case _:
                    values = self._header(layer)
                    if values is not None:
                        made.append(values)
        return PacketTemplate(tuple(made), self.truncate) if len(self.found.found) == count else None

    def _count(self, layer: syntax.PacketLayer, example: str) -> int:
        if len(layer.arguments) != 1 or layer.values:
            self.found.add(problems.bad_layer(f"`{layer.name.text}` takes a number of bytes", layer.span, f"as in `{example}`"))
            return 0
        expressions = Expressions(self.headers.table, self.found)
        value = expressions.constant(layer.arguments[0], self.scope, unsigned(32), "a number of bytes")
        if value is not None and value.value > LONGEST:
            self.found.add(problems.bad_layer(f"a packet has at most {LONGEST} bytes", layer.arguments[0].span))
            return 0
        return value.value if value is not None else 0

    def _bytes(self, layer: syntax.PacketLayer) -> bytes:
        example = 'as in `bytes("0a 0b 0c")`'
        argument = layer.arguments[0] if len(layer.arguments) == 1 and not layer.values else None
        if not isinstance(argument, syntax.StringLiteral):
            self.found.add(problems.bad_layer("`bytes` takes a string of hexadecimal digits", layer.span, example))
            return b""
        try:
            return bytes.fromhex(argument.value)
        except ValueError:
            self.found.add(problems.bad_layer("these are not pairs of hexadecimal digits", argument.span, example))
            return b""

    def _header(self, layer: syntax.PacketLayer) -> LayerValues | None:
        name = layer.name.text
        instances = [i for i in self.headers.headers.instances if i.header == name]
        if not instances:
            known = (*(i.header for i in self.headers.headers.instances), "payload", "bytes", "truncate")
            self.found.add(problems.unknown_name(name, layer.name.span, known))
            return None
        if self.has_payload:
            self.found.add(problems.bad_layer(f"`{name}` stands behind a payload", layer.name.span))
        elif not self._can_follow(instances):
            possible = dict.fromkeys(i.header for i in self.headers.headers.instances if self._can_follow([i]))
            self.found.add(problems.layers_do_not_follow(name, self.previous, layer.name.span, possible))
        self.previous = name
        if layer.arguments:
            help = f"values have names, as in `{name}({instances[0].fields[0].name} = …)`" if instances[0].fields else ""
            self.found.add(problems.bad_layer(f"`{name}` takes values of its fields", layer.arguments[0].span, help))
        return LayerValues(name, tuple(self._values(layer, instances[0]).items()))

    def _can_follow(self, instances: list[HeaderInstance]) -> bool:
        """Whether a header can stand behind the previous one. A tag may be repeated more often than parsing looks through."""
        if not self.previous:
            return any(not instance.parents for instance in instances)
        parents = (parent.header for instance in instances for parent in instance.parents)
        return any(self.headers.headers.instance(parent).header == self.previous for parent in parents)

    def _values(self, layer: syntax.PacketLayer, instance: HeaderInstance) -> dict[str, int]:
        values: dict[str, int] = {}
        types = {field.name: field.type for field in instance.fields}
        for given in layer.values:
            name = given.name.text
            if name not in types:
                self.found.add(problems.unknown_field(instance.header, name, given.name.span, types))
                continue
            if name in values:
                self.found.add(problems.given_twice(name, given.name.span))
            expressions = Expressions(self.headers.table, self.found)
            field = FieldRef(instance.name, name)
            value = expressions.constant(given.value, self.scope, types[name], f"the value of `{name}`", field)
            if value is not None:
                values[name] = value.value
        return values
