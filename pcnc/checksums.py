"""Internet checksums (RFC 1071): which of them cover a field, how an assignment moves them, what they are in a new packet.

A header's checksum covers, as its declaration says, the header itself (`header`), the header and all that it carries
(`payload`), and the pseudo-header of the IP header that encloses it most closely (`pseudo`; RFC 768, RFC 9293 3.1,
RFC 8200 8.1).

An assignment moves a checksum by the difference that it makes (RFC 1624). So a correct sum stays correct, a wrong one stays
wrong by the same amount, and nothing that lies outside the frame (later fragments, a cut payload) has to be known.

The functions speak of *words*: 16 bits in network order, counted from the first byte of the header that holds the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.bits import covering_bytes
from pcnc.expression import FieldRef
from pcnc.parse_graph import Checksum, HeaderInstance, Headers
from pcnc.parse_packet import Packet, PlacedHeader

IPV4 = "ipv4"
IPV6 = "ipv6"
ADDRESSES = ("src", "dst")
"""The fields of an IP header that the pseudo-header holds and that can be assigned."""


def is_ip(instance: HeaderInstance) -> bool:
    """Whether a header has a pseudo-header: `ipv4`, `ipv6`, and further instances of them."""
    return instance.header in (IPV4, IPV6)


@dataclass(frozen=True, slots=True)
class CoveringSum:
    """A checksum that covers a field, where its holder is present.

    `holder` is the header instance with the checksum. `pseudo`: the field is an address of the pseudo-header; it counts
    only in packets where no other IP header stands between the field's and the holder. `same_header`: the field lies in
    the holder itself. Neither: the field lies in what the holder carries.
    """

    holder: str
    pseudo: bool
    same_header: bool


def covering(headers: Headers, field: FieldRef) -> tuple[CoveringSum, ...]:
    """The checksums that may cover a field of one header instance, its own header's first, then in order of declaration.

    The field's header is an instance, not an either (KeyError). Which of them a packet has depends on the headers present
    in it (`covering_in`). A checksum does not cover itself. One that has changed is itself a field that was written:
    those that cover *it* move, too (`covering(headers, FieldRef(holder, its field))`).
    """
    owner = headers.instance(field.header)
    before = _ancestors(headers, owner)
    behind = _transports(headers, owner) if is_ip(owner) and field.name in ADDRESSES else frozenset()
    found = []
    own = owner.checksum
    if own is not None and (own.header or own.payload) and own.field != field.name:
        found.append(CoveringSum(owner.name, pseudo=False, same_header=True))
    for instance in headers.instances:
        if instance.checksum is None or instance.name == owner.name:
            continue
        if instance.checksum.payload and instance.name in before:
            found.append(CoveringSum(instance.name, pseudo=False, same_header=False))
        if instance.checksum.pseudo and instance.name in behind:
            found.append(CoveringSum(instance.name, pseudo=True, same_header=False))
    return tuple(found)


def _ancestors(headers: Headers, owner: HeaderInstance) -> frozenset[str]:
    """The instances that can stand before one in a packet."""
    found: set[str] = set()
    waiting = [parent.header for parent in owner.parents]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parent.header for parent in headers.instance(name).parents)
    return frozenset(found)


def _transports(headers: Headers, ip: HeaderInstance) -> frozenset[str]:
    """The instances that can stand behind an IP header with no other IP header between."""
    found: set[str] = set()
    waiting = [ip.name]
    while waiting:
        for child in headers.children(waiting.pop()):
            if child.name not in found:
                found.add(child.name)
                if not is_ip(child):
                    waiting.append(child.name)
    return frozenset(found)


def enclosing_ip(path: tuple[PlacedHeader, ...], holder: str) -> PlacedHeader | None:
    """The IP header of a packet that encloses a header most closely, itself left out; None where there is none."""
    found = None
    for placed in path:
        if placed.instance.name == holder:
            return found
        if is_ip(placed.instance):
            found = placed
    raise KeyError(holder)


def covering_in(packet: Packet, field: FieldRef) -> tuple[CoveringSum, ...]:
    """Of the checksums that may cover a field those that do in this packet."""

    def applies(candidate: CoveringSum) -> bool:
        if not packet.present(candidate.holder):
            return False
        if not candidate.pseudo:
            return True
        ip = enclosing_ip(packet.path, candidate.holder)
        return ip is not None and ip.instance.name == field.header

    return tuple(candidate for candidate in covering(packet.headers, field) if applies(candidate))


def assign(packet: Packet, field: FieldRef, value: int) -> None:
    """Writes a field and then every checksum that covers it; the meaning of `field = value`. Raises AbsentHeader.

    A field of an either is that of the member present. A checksum that has changed is a field that was written: those that
    cover it move with it. In which order they move makes no difference.
    """
    owner = packet.placed(field.header)
    field = FieldRef(owner.instance.name, field.name)
    before = bytes(packet.frame)
    packet.write(field, value)
    after = bytes(packet.frame)
    declared = owner.instance.field(field.name)
    first_bit = owner.start * 8 + declared.offset

    for covered in covering_in(packet, field):
        holder = packet.placed(covered.holder)
        checksum = holder.instance.checksum
        assert checksum is not None
        # The pseudo-header has the addresses at even bytes whatever their place in the frame.
        aligned_to = first_bit // 8 if covered.pseudo else holder.start
        first, end = covering_bytes(first_bit, declared.type.bits)
        first -= (first - aligned_to) % 2
        held = FieldRef(covered.holder, checksum.field)
        ip = enclosing_ip(packet.path, covered.holder)
        over_ipv4 = ip is not None and ip.instance.header == IPV4
        stored = packet.read(held)
        moved = updated(checksum, over_ipv4, stored, before[first:end], after[first:end])
        if moved != stored:
            assign(packet, held, moved)


def updated(checksum: Checksum, over_ipv4: bool, stored: int, before: bytes, after: bytes) -> int:
    """What a stored checksum becomes when the words `before` that it covers become `after`.

    With `optional`, over IPv4 a 0 says that there is no checksum, and stays; a result of 0 is written 0xffff.
    """
    if checksum.optional and over_ipv4 and stored == 0:
        return 0
    result = moved_sum(stored, before, after)
    return 0xFFFF if checksum.optional and result == 0 else result


def moved_sum(stored: int, before: bytes, after: bytes) -> int:
    """`~(~stored + sum of ~before + sum of after + 0xffff)`, word by word in one's complement (RFC 1624, equation 3).

    0xffff is a zero of that arithmetic; adding it makes a result of 0xffff impossible: all implementations write 0.
    An odd last byte is the high byte of a word whose low byte is 0.
    """
    total = (~stored & 0xFFFF) + sum(~word & 0xFFFF for word in words(before)) + sum(words(after)) + 0xFFFF
    return ~fold(total) & 0xFFFF


def words(data: bytes) -> list[int]:
    """The 16-bit words of a byte string; an odd last byte is followed by a zero (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    return [int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2)]


def fold(total: int) -> int:
    """A sum of words with its carries added back until it fits 16 bits. Only 0 folds to 0."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def internet_checksum(data: bytes) -> int:
    """The checksum over bytes in which the checksum's own field is 0 (RFC 1071)."""
    return ~fold(sum(words(data))) & 0xFFFF


def pseudo_header(version: int, source: int, destination: int, protocol: int, length: int) -> bytes:
    """The pseudo-header of IPv4 (RFC 768, RFC 9293 3.1) or IPv6 (RFC 8200 8.1); `length` is the transport's, header included."""
    if version == 4:
        return source.to_bytes(4, "big") + destination.to_bytes(4, "big") + bytes([0, protocol]) + length.to_bytes(2, "big")
    if version == 6:
        return source.to_bytes(16, "big") + destination.to_bytes(16, "big") + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    raise ValueError(f"IP version {version} has no pseudo-header")
