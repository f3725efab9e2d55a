"""Headers and how they follow each other: the parse graph that every program has, and its user's additions."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.expression import Expression
from pcnc.source import Span, uncompared_span
from pcnc.types import Type


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header: `offset` bits from its first bit (network bit order: 0 is the most significant), `type.bits` wide."""

    name: str
    offset: int
    type: Type
    assignable: bool = True
    """False where the field chooses the layout: read by a size, verify, extent or opaque clause or a parent's condition."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A header instance that this one can follow, and the condition (over the parent's fields) under which it does."""

    header: str
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Checksum:
    """An Internet checksum (RFC 1071) in `field`, over this header, its payload and the enclosing IP pseudo-header.

    `optional`: 0 means "no checksum" over IPv4, and a computed 0 is written 0xffff (RFC 768, RFC 8200 8.1).
    """

    field: str
    header: bool
    payload: bool
    pseudo: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class HeaderInstance:
    """One place in the parse graph. A header with a depth has several: `ipv6_ext`, `ipv6_ext.inner`, `ipv6_ext.2`, ….

    It is present when a parent is present and not opaque, that parent's condition holds, `size` bytes from its first one
    lie inside the frame and inside every extent around it, `verify` holds, and its own extent is not smaller than its size.
    Of several children whose conditions hold, the first declared is taken.
    """

    name: str
    header: str
    index: int
    fields: tuple[Field, ...]
    length: int
    """Bytes of the declared fields: the least it can be."""
    size: Expression | None
    """Bytes including options, read from its own fields; None: always `length`. A size below `length` is malformed: absent."""
    verify: Expression | None
    extent: Expression | None
    """Bytes from this header's first one to the end of what it carries; None: states nothing."""
    opaque: Expression | None
    """When true, nothing behind this header is parsed (a later fragment)."""
    parents: tuple[Parent, ...]
    """Empty only for `eth`, which stands at the first byte of the frame."""
    checksum: Checksum | None
    span: Span = uncompared_span()

    def field(self, name: str) -> Field:
        """The field of that name; KeyError if there is none."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise KeyError(f"{self.name}.{name}")


@dataclass(frozen=True, slots=True)
class Either:
    """A name for header instances of which a packet has at most one: `l4` is `tcp` or `udp`. `fields` are those all have."""

    name: str
    members: tuple[str, ...]
    fields: tuple[Field, ...]
    """Type and name as in the members; `offset` is the first member's."""


@dataclass(frozen=True, slots=True)
class Headers:
    """All header instances, each after its parents, and the eithers."""

    instances: tuple[HeaderInstance, ...]
    eithers: tuple[Either, ...]

    def instance(self, name: str) -> HeaderInstance:
        """The instance of that name; KeyError if there is none."""
        for candidate in self.instances:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def members(self, name: str) -> tuple[str, ...]:
        """The instances that a name stands for: those of an either, or the one of that name."""
        for either in self.eithers:
            if either.name == name:
                return either.members
        return (self.instance(name).name,)

    def children(self, name: str) -> tuple[HeaderInstance, ...]:
        """The instances that can follow one, in order of declaration."""
        return tuple(i for i in self.instances if any(p.header == name for p in i.parents))
