"""Frames made by scapy, which knows nothing of pcnc: well formed unless told otherwise, and 60 bytes at least."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

# Addresses stand in all packets: where one is missing, scapy asks the network for it.


def ethernet(*layers: Packet, **fields: Any) -> bytes:
    """A frame, with zeros behind it where it is shorter than 60 bytes."""
    made: Packet = Ether(**{"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02", **fields})
    for layer in layers:
        made = made / layer
    return bytes(made).ljust(60, b"\0")


def ip4(**fields: Any) -> Packet:
    """An IPv4 header from 192.0.2.1 to 192.0.2.2."""
    return IP(**{"src": "192.0.2.1", "dst": "192.0.2.2", **fields})


def ip6(**fields: Any) -> Packet:
    """An IPv6 header from 2001:db8::1 to 2001:db8::2."""
    return IPv6(**{"src": "2001:db8::1", "dst": "2001:db8::2", **fields})


def arp(**fields: Any) -> Packet:
    """A request of 10.0.0.1 for 10.0.0.2."""
    return ARP(**{"hwsrc": "02:00:00:00:00:01", "psrc": "10.0.0.1", "pdst": "10.0.0.2", **fields})
