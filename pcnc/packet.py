"""Builds a test packet from its template: `eth / ipv4(src=10.1.2.3) / tcp(dport=80) / payload(100)`.

What a template gives stands in the packet as given, even where it makes the packet wrong. What it does not give is filled in:

- a field that says which header follows (`eth.type`, `ipv4.proto`): from the condition of the header that does follow;
- a field that says a length (`ipv4.length`, `udp.length`): from what the header's `extent` has to come to;
- a checksum: over what is there, after everything else is, from the innermost header outwards;
- any other: the value in `packet_defaults`, or one with which the header is well formed (`verify`), or 0.

Options are as many zero bytes as the header's `size` says (`ipv4(ihl=6)` has four; a zero is "end of options"). A tag or
extension header may stand there more often than parsing looks through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pcnc.bits import write_bits
from pcnc.checksums import IPV4, internet_checksum, is_ip, pseudo_header
from pcnc.evaluate import evaluate, packet_only
from pcnc.expression import Expression, FieldRef
from pcnc.expression_walk import fields_read
from pcnc.packet_defaults import DEFAULTS
from pcnc.parse_graph import HeaderInstance, Headers, Parent
from pcnc.program_tests import LayerValues, PacketTemplate, Payload
from pcnc.solve import invert, satisfy

PROTOCOL_FIELDS = ("proto", "next")
"""The fields, in IP and extension headers, that hold the number of the protocol that follows."""


def build(headers: Headers, template: PacketTemplate) -> bytes:
    """The frame that a template stands for. Raises ValueError, with a text for people, where there is none.

    That is: a header that cannot follow the one before it, a header behind the payload, an unknown field, a value that
    does not fit its field, a packet too long for a length field, a length that has to be given as it cannot be found.
    """
    layers, payload = _stack(headers, template)
    for layer in layers:
        _link(layer)
    for layer in layers:
        _fill_in(layer)
    end = 0
    for layer in layers:
        layer.start = end
        layer.size = _size(layer)
        end += layer.size
    end += len(payload)
    for layer in layers:
        _state_length(layer, end)

    frame = bytearray(end - len(payload)) + payload
    for layer in layers:
        for name, value in layer.values.items():
            _write(frame, layer, name, value)
    for layer in reversed(layers):
        _fill_in_checksum(frame, layer)
    return bytes(frame if template.truncate is None else frame[: template.truncate])


@dataclass(slots=True)
class _Layer:
    """A header of the packet to be. `instance` has its layout; `link` says how it follows the layer before."""

    headers: Headers
    before: _Layer | None
    instance: HeaderInstance
    link: Parent | None
    given: Mapping[str, int]
    values: dict[str, int] = field(default_factory=dict)
    start: int = 0
    size: int = 0

    @property
    def header(self) -> str:
        return self.instance.header

    def evaluate(self, expression: Expression) -> int:
        """The value of one of the header's own clauses."""
        return evaluate(expression, packet_only(self))

    # What a clause may ask: the header's own fields, and those of the headers before.

    @property
    def length(self) -> int:
        raise ValueError(f"{self.header}: a clause reads the length of a packet that is not built yet")

    def present(self, header: str) -> bool:
        return self._holding(header) is not None

    def read(self, field: FieldRef) -> int:
        layer = self._holding(field.header)
        if layer is None:
            raise ValueError(f"{self.header} reads {field}, but there is no {field.header} before it in the packet")
        return layer.values[field.name]

    def _holding(self, header: str) -> _Layer | None:
        """The layer for an instance that a clause names: this one, or the nearest before of the same declaration."""
        layer: _Layer | None = self
        if header != self.instance.name:
            layer = self.before
            wanted = self.headers.instance(header).header
            while layer is not None and layer.header != wanted:
                layer = layer.before
        return layer


def _stack(headers: Headers, template: PacketTemplate) -> tuple[list[_Layer], bytes]:
    """The layers, each knowing what it stands behind, and the payload."""
    layers: list[_Layer] = []
    payload = b""
    for item in template.layers:
        match item:
            case Payload(data):
                payload += data
            case LayerValues(header, values):
                if payload:
                    raise ValueError(f"{header} stands behind the payload")
                layers.append(_layer(headers, layers[-1] if layers else None, header, dict(values)))
    return layers, payload


def _layer(headers: Headers, before: _Layer | None, name: str, given: Mapping[str, int]) -> _Layer:
    declared = next((i.header for i in headers.instances if name in (i.name, i.header)), None)
    candidates = [instance for instance in headers.instances if instance.header == declared]
    if not candidates:
        raise ValueError(f"there is no header {name}")
    instance, link = _place_behind(candidates, before)
    for field_name, value in given.items():
        try:
            width = instance.field(field_name).type.bits
        except KeyError:
            raise ValueError(f"{name} has no field {field_name}") from None
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name}.{field_name}: {value} does not fit {width} bits")
    return _Layer(headers, before, instance, link, given, dict(given))


def _place_behind(candidates: list[HeaderInstance], before: _Layer | None) -> tuple[HeaderInstance, Parent | None]:
    """Which instance of a header stands behind a layer, and by which of its parents.

    Where parsing does not look as deep, any instance that follows the same header elsewhere lends its layout.
    """
    header = candidates[0].header
    if before is None:
        for candidate in candidates:
            if not candidate.parents:
                return candidate, None
        raise ValueError(f"a packet does not begin with {header}")
    links = [(candidate, parent) for candidate in candidates for parent in candidate.parents]
    for candidate, parent in links:
        if parent.header == before.instance.name:
            return candidate, parent
    for candidate, parent in links:
        if before.headers.instance(parent.header).header == before.header:
            return candidate, parent
    possible = sorted({before.headers.instance(parent.header).header for _, parent in links})
    raise ValueError(f"{header} does not follow {before.header}; it follows {', '.join(possible) or 'nothing'}")


def _link(layer: _Layer) -> None:
    """Sets in the layer before what makes this one follow it."""
    if layer.before is None or layer.link is None or layer.link.condition is None:
        return
    solution = satisfy(layer.link.condition)
    if solution is None:
        raise ValueError(f"what makes {layer.header} follow {layer.before.header} is not a plain comparison; give the fields")
    for target, value in solution.items():
        if target.header == layer.link.header:
            layer.before.values.setdefault(target.name, value)


def _fill_in(layer: _Layer) -> None:
    """Gives every field a value: a length and a checksum one that is replaced later."""
    verify = layer.instance.verify
    well_formed = (satisfy(verify) if verify is not None else None) or {}
    for declared in layer.instance.fields:
        wanted = well_formed.get(FieldRef(layer.instance.name, declared.name), 0)
        layer.values.setdefault(declared.name, DEFAULTS.get((layer.header, declared.name), wanted))


def _size(layer: _Layer) -> int:
    """Bytes with options; a size stated too small leaves the declared fields where they are."""
    if layer.instance.size is None:
        return layer.instance.length
    return max(layer.instance.length, layer.evaluate(layer.instance.size))


def _state_length(layer: _Layer, end: int) -> None:
    """Sets the field that states how far the header and what it carries reach, unless one it is made of was given."""
    extent = layer.instance.extent
    wanted = end - layer.start
    if extent is None or any(read.name in layer.given for read in fields_read(extent)):
        return
    solution = invert(extent, wanted)
    if solution is None:
        if layer.evaluate(extent) == wanted:
            return
        raise ValueError(f"no value of {layer.header}'s fields states a length of {wanted} bytes; give them")
    for target, value in solution.items():
        width = layer.instance.field(target.name).type.bits
        if not 0 <= value < 1 << width:
            raise ValueError(
                f"{layer.header} with what it carries is {wanted} bytes long, more than {layer.header}.{target.name} states"
            )
        layer.values[target.name] = value


def _fill_in_checksum(frame: bytearray, layer: _Layer) -> None:
    """Computes a checksum that was not given; its field is 0 until now."""
    checksum = layer.instance.checksum
    if checksum is None or checksum.field in layer.given:
        return
    end = _covered_end(layer, len(frame)) if checksum.payload else layer.start + layer.size
    covered = bytes(frame[layer.start : end]) if checksum.header or checksum.payload else b""
    if checksum.pseudo:
        covered = _pseudo_header(layer, end - layer.start) + covered
    value = internet_checksum(covered)
    _write(frame, layer, checksum.field, 0xFFFF if checksum.optional and value == 0 else value)


def _covered_end(layer: _Layer, end: int) -> int:
    """Where the payload ends that a checksum covers: at the least extent stated around it, not in the padding behind."""
    around: _Layer | None = layer
    while around is not None:
        if around.instance.extent is not None:
            end = min(end, around.start + around.evaluate(around.instance.extent))
        around = around.before
    return max(end, layer.start + layer.size)


def _pseudo_header(layer: _Layer, length: int) -> bytes:
    """That of the nearest IP header before; empty where there is none. The protocol is what the last header before states."""
    protocol: int | None = None
    ip = layer.before
    while ip is not None:
        if protocol is None:
            protocol = next((ip.values[name] for name in PROTOCOL_FIELDS if name in ip.values), None)
        if is_ip(ip.instance):
            break
        ip = ip.before
    if ip is None or protocol is None:
        return b""
    return pseudo_header(4 if ip.header == IPV4 else 6, ip.values["src"], ip.values["dst"], protocol, length)


def _write(frame: bytearray, layer: _Layer, name: str, value: int) -> None:
    declared = layer.instance.field(name)
    write_bits(frame, layer.start * 8 + declared.offset, declared.type.bits, value)
