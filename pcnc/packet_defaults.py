"""What a test packet's fields hold where the test does not say."""

from __future__ import annotations

DEFAULTS: dict[tuple[str, str], int] = {
    ("eth", "src"): 0x02_00_00_00_00_01,
    ("eth", "dst"): 0x02_00_00_00_00_02,
    ("eth", "type"): 0x88B5,
    ("vlan", "id"): 1,
    ("vlan", "type"): 0x88B5,
    ("arp", "op"): 1,
    ("ipv4", "version"): 4,
    ("ipv4", "ihl"): 5,
    ("ipv4", "ttl"): 64,
    ("ipv4", "proto"): 253,
    ("ipv4", "src"): 0xC0_00_02_01,
    ("ipv4", "dst"): 0xC0_00_02_02,
    ("ipv6", "version"): 6,
    ("ipv6", "next"): 59,
    ("ipv6", "hop_limit"): 64,
    ("ipv6", "src"): 0x20010DB8_00000000_00000000_00000001,
    ("ipv6", "dst"): 0x20010DB8_00000000_00000000_00000002,
    ("ipv6_ext", "next"): 59,
    ("tcp", "sport"): 1024,
    ("tcp", "dport"): 80,
    ("tcp", "offset"): 5,
    ("tcp", "flags"): 0x02,
    ("tcp", "window"): 65535,
    ("udp", "sport"): 1024,
    ("udp", "dport"): 53,
    ("icmp", "type"): 8,
    ("icmpv6", "type"): 128,
}
"""By header and field. The addresses are the documentation's (RFC 5737, RFC 3849), the MAC addresses locally administered.

`eth.type`, `vlan.type`, `ipv4.proto` and `ipv6.next` hold these only where no header of the test packet follows: 0x88b5 is
the EtherType for local experiments (IEEE 802), 253 the protocol for experiments (RFC 3692), 59 "no next header" (RFC 8200).
TCP's flags are SYN, ICMP's and ICMPv6's types echo requests.
"""
