"""Rules and packets to measure with, drawn from a seed: the same in every run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network
from random import Random

from pcnc.rules import MaskedValue, Rule

MANY = 1 << 16
"""How many different packets make a rotation."""

_ETHERNET = bytes.fromhex("020000000002 020000000001 0800")
_UDP = bytes.fromhex("7a69 0050 0020 0000") + bytes(24)
_LENGTHS = (32, 24, 20, 16)
_SHARES = (30, 50, 12, 8)
"""Of a hundred prefixes; about what lists of blocked hosts and networks hold."""


def random_prefixes(count: int, random: Random) -> list[IPv4Network]:
    """So many different prefixes out of 1.0.0.0 to 223.255.255.255: hosts, and networks of three lengths."""
    found: dict[IPv4Network, None] = {}
    while len(found) < count:
        (length,) = random.choices(_LENGTHS, _SHARES)
        address = random.randrange(1 << 24, 224 << 24) >> (32 - length) << (32 - length)
        found[IPv4Network((address, length))] = None
    return list(found)


def drop_rules(prefixes: Collection[IPv4Network]) -> list[Rule]:
    """A rule for each prefix that drops what lies in it."""
    return [Rule((MaskedValue(int(network.network_address), int(network.netmask)),), "drop") for network in prefixes]


class Covered:
    """Which addresses lie in one of the prefixes."""

    def __init__(self, prefixes: Collection[IPv4Network]) -> None:
        self._by_length: dict[int, set[int]] = {}
        for network in prefixes:
            shift = 32 - network.prefixlen
            self._by_length.setdefault(shift, set()).add(int(network.network_address) >> shift)

    def __contains__(self, address: int) -> bool:
        return any(address >> shift in known for shift, known in self._by_length.items())


def random_address(prefixes: Sequence[IPv4Network], random: Random) -> int:
    """An address that, one time in two, lies in one of the prefixes."""
    if prefixes and random.random() < 0.5:
        network = random.choice(prefixes)
        return int(network.network_address) | random.getrandbits(32) & int(network.hostmask)
    return random.randrange(1 << 24, 224 << 24)


def datagram(source: int, destination: int) -> bytes:
    """An Ethernet frame of 66 bytes with a UDP datagram between two IPv4 addresses. Nobody here reads its checksums: they are 0."""
    addresses = source.to_bytes(4, "big") + destination.to_bytes(4, "big")
    header = bytes.fromhex("4500 0034 0000 4000 4011 0000") + addresses
    return _ETHERNET + header + _UDP


def addresses_of(frame: bytes) -> tuple[int, int]:
    """Source and destination of a `datagram`."""
    return int.from_bytes(frame[26:30], "big"), int.from_bytes(frame[30:34], "big")


def rotation(count: int, sources: Sequence[IPv4Network], destinations: Sequence[IPv4Network], random: Random) -> list[bytes]:
    """Datagrams of which half are from one of `sources`, and half are to one of `destinations`."""
    return [datagram(random_address(sources, random), random_address(destinations, random)) for _ in range(count)]
