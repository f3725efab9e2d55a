"""Which headers a frame holds and where: the walk from `eth` along the parse graph.

The walk starts at the frame's first byte with the header that has no parent. Behind each present header it goes to the
first of the header's children, in the order of declaration, whose condition holds; that one is then present or not, and
no other child is tried in its place. Behind an absent or an opaque header nothing is present.

A header is present when

1. its declared fields lie inside the frame and inside every extent around it,
2. its size, options included, is no smaller than those fields and lies inside the same bounds,
3. it is well formed (`verify`), and
4. the extent that it states itself, if it does, is no smaller than its size.

What its extent states beyond the frame's end, or beyond an extent around it, is not there (a cut packet); what lies behind
the extent is padding and holds no header.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.bits import read_bits, write_bits
from pcnc.evaluate import evaluate, packet_only
from pcnc.expression import FieldRef
from pcnc.parse_graph import HeaderInstance, Headers


class AbsentHeader(LookupError):
    """A field was asked for whose header the packet does not hold."""

    def __init__(self, header: str) -> None:
        super().__init__(f"{header} is absent")
        self.header = header


@dataclass(frozen=True, slots=True)
class PlacedHeader:
    """A present header. All numbers are bytes; `start` and `end` count from the frame's first byte."""

    instance: HeaderInstance
    start: int
    size: int
    """Options included."""
    end: int
    """Where what it carries ends: the least of the frame's end and all extents stated so far, its own included."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A frame and its present headers, outermost first.

    The bytes change by assignment; which headers are present does not, as no field that chooses the layout is assignable.
    """

    headers: Headers
    frame: bytearray
    path: tuple[PlacedHeader, ...] = ()

    @property
    def length(self) -> int:
        """The frame's length in bytes."""
        return len(self.frame)

    def present(self, header: str) -> bool:
        """Whether the instance of that name is present, or one that an either of that name stands for."""
        return any(placed.instance.name in self.headers.members(header) for placed in self.path)

    def placed(self, header: str) -> PlacedHeader:
        """Where the instance of that name lies, or the one present of an either; raises AbsentHeader."""
        for placed in self.path:
            if placed.instance.name in self.headers.members(header):
                return placed
        raise AbsentHeader(header)

    def read(self, field: FieldRef) -> int:
        """A field's value as the bytes are now; raises AbsentHeader."""
        placed = self.placed(field.header)
        declared = placed.instance.field(field.name)
        return read_bits(self.frame, placed.start * 8 + declared.offset, declared.type.bits)

    def write(self, field: FieldRef, value: int) -> None:
        """Writes a field's bits and nothing else: no checksum follows. Raises AbsentHeader."""
        placed = self.placed(field.header)
        declared = placed.instance.field(field.name)
        write_bits(self.frame, placed.start * 8 + declared.offset, declared.type.bits, value)


def parse_packet(headers: Headers, frame: bytes) -> Packet:
    """The frame with all its present headers. With a frame too short for `eth` none is present."""
    packet = Packet(headers, bytearray(frame))
    candidate = next((instance for instance in headers.instances if not instance.parents), None)
    start, bound = 0, len(frame)
    while candidate is not None:
        placed = _place(packet, candidate, start, bound)
        if placed is None:
            break
        packet = Packet(headers, packet.frame, (*packet.path, placed))
        start, bound = placed.start + placed.size, placed.end
        candidate = _next_header(packet, placed.instance)
    return packet


def _place(packet: Packet, instance: HeaderInstance, start: int, bound: int) -> PlacedHeader | None:
    """The header at byte `start` if it is present there; `bound` is where the frame or the tightest extent ends."""
    if start + instance.length > bound:
        return None
    readable = PlacedHeader(instance, start, instance.length, bound)
    here = packet_only(Packet(packet.headers, packet.frame, (*packet.path, readable)))

    size = instance.length if instance.size is None else evaluate(instance.size, here)
    if size < instance.length or start + size > bound:
        return None
    if instance.verify is not None and not evaluate(instance.verify, here):
        return None
    if instance.extent is None:
        return PlacedHeader(instance, start, size, bound)
    extent = evaluate(instance.extent, here)
    if extent < size:
        return None
    return PlacedHeader(instance, start, size, min(bound, start + extent))


def _next_header(packet: Packet, parent: HeaderInstance) -> HeaderInstance | None:
    """The header that follows `parent` by its fields, whether it will prove present or not."""
    here = packet_only(packet)
    if parent.opaque is not None and evaluate(parent.opaque, here):
        return None
    for child in packet.headers.children(parent.name):
        for link in child.parents:
            if link.header == parent.name and (link.condition is None or evaluate(link.condition, here)):
                return child
    return None
