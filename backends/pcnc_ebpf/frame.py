"""The frame: what blocks hand to each other across tail calls, in one per-CPU map value.

One CPU runs one chain at a time, so a block may rely on what the block before it left there. Only what a later block
reads has a place in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.blocks import Needs
from pcnc.expression import FieldRef
from pcnc.parse_graph import Headers
from pcnc.program import Service
from pcnc_ebpf.layout import Layout, identifier, lay_out, storage
from pcnc_ebpf.names import offset_member, present_bit


@dataclass(frozen=True, slots=True)
class Frame:
    """The members of `struct frame`, and which header has which bit of its `present`."""

    layout: Layout
    bits: tuple[tuple[str, int], ...]
    """(constant, bit) of the headers whose presence is asked, in order of declaration."""
    headers: Headers
    needs: Needs

    def slot(self, field: FieldRef) -> str:
        """The member that holds a field's value; fields of headers that exclude each other share one (`l4_dport`)."""
        for either in self.headers.eithers:
            if field.header in either.members and any(shared.name == field.name for shared in either.fields):
                return f"{identifier(either.name)}_{field.name}"
        return f"{identifier(field.header)}_{field.name}"

    def holds(self, field: FieldRef) -> bool:
        """Whether the field's value is handed on."""
        return any(self.slot(needed) == self.slot(field) for needed in self.needs.fields)


def make_frame(headers: Headers, service: Service, needs: Needs) -> Frame:
    """Lays out the frame for what the blocks of a pipeline need of each other."""
    bits = tuple(
        (present_bit(instance.name), index)
        for index, instance in enumerate(i for i in headers.instances if i.name in needs.presence)
    )
    frame = Frame(Layout((), 0), bits, headers, needs)
    sized: dict[str, int] = {}
    if bits:
        sized["present"] = 8
    for instance in headers.instances:
        for field in instance.fields:
            ref = FieldRef(instance.name, field.name)
            if ref in needs.fields:
                sized[frame.slot(ref)] = storage(field.type.bits)
        if instance.name in needs.offsets:
            sized[offset_member(instance.name)] = 2
    for meta in service.metas:
        if meta.name in needs.metas:
            sized[f"meta_{meta.name}"] = storage(meta.type.bits)
    members = sorted(sized.items(), key=lambda pair: -pair[1])
    return Frame(lay_out(members), bits, headers, needs)
