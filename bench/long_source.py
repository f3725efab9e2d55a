"""A long PCN file to measure with: services with some of everything, a hundred lines each."""

from __future__ import annotations

_SERVICE = """\
# Service {n}: what comes in is checked, sorted by the 5-tuple, counted and marked.
enum kind_{n}: u8 {{ best_effort, bulk = 8, voice = 46 }}

service edge_{n} {{
    const hop_limit = 2
    config gateway: mac_addr = 02:00:00:00:00:{n:02x}
    meta class: u8

    table blocked {{
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    64k
    }}
    table acl {{
        match   ipv4.src: prefix, ipv4.dst: prefix, ipv4.proto: ternary, l4.dport: range, tcp.flags: ternary
        action  next, drop, classify
        default drop
        order   first
        size    10k
        count   packets, bytes
    }}
    table services {{
        match   l4.dport: exact, ipv4.proto: exact
        action  classify, rewrite, next
        default next
        size    4k
        count   packets
    }}
    table hosts6 {{
        match   ipv6.src: lpm
        action  drop, next
        default next
        size    4k
    }}

    action classify(value: u8) {{ class = value }}
    action rewrite(value: u8, gate: mac_addr) {{
        class = value
        eth.dst = gate
    }}

    rules blocked {{
        10.{n}.0.0/16 -> drop
        10.{n}.1.0/24 -> next
        192.0.2.{n}/32 -> drop
    }}
    rules acl {{
        ipv4.proto=tcp, l4.dport=22, ipv4.src=10.{n}.0.0/16          -> next
        ipv4.proto=tcp, l4.dport=80..90, tcp.flags=0x02 &&& 0x12 -> classify(8)
        ipv4.proto=udp, l4.dport=53..54                             -> next
        ipv4.proto=udp, ipv4.dst=198.51.100.{n}/32                   -> classify(46)
        ipv4.proto=icmp                                             -> next
    }}
    rules services {{
        l4.dport=5060, ipv4.proto=udp -> classify(46)
        l4.dport=873, ipv4.proto=tcp  -> rewrite(8, 02:00:00:00:01:{n:02x})
    }}

    chain ingress {{
        stage spoofed {{
            if ipv4 and ipv4.src in (127.0.0.0/8, 224.0.0.0/4) {{ drop }}
            if ipv6 and ipv6.src in ff00::/8 {{ drop }}
        }}
        if ipv4 {{
            stage worn {{
                if ipv4.ttl < hop_limit {{ drop }}
            }}
            blocked
            acl
            if l4 {{ services }}
            stage mark {{
                let wanted = class & 0x3f
                if wanted != 0 {{ ipv4.dscp = u6(wanted) }}
                ipv4.ttl -= 1
                eth.dst = gateway
            }}
        }} else {{
            if ipv6 {{ hosts6 }} else {{ stage other {{ if not arp {{ drop }} }} }}
        }}
    }}
    chain egress {{
        stage strip {{
            if ipv4 and not l4 {{ ipv4.dscp = 0 }}
        }}
    }}

    test "a listed network is dropped, and nothing else of it" {{
        rules blocked {{ 10.{n}.0.0/16 -> drop }}
        send ingress: eth / ipv4(src=10.{n}.255.255) / tcp(dport=80)
        expect drop
    }}
    test "a setting is what the operator says" {{
        gateway = 02:00:00:00:02:{n:02x}
        rules acl {{ ipv4.proto=udp, l4.dport=53..54 -> classify(8) }}
        send ingress: eth / ipv4(ttl=9) / udp(dport=53)
        expect next with ipv4.ttl == 8, ipv4.dscp == 8, eth.dst == 02:00:00:00:02:{n:02x}
        expect acl[1].packets == 1
    }}
}}
"""
LINES = len(_SERVICE.splitlines())
"""How many lines a service has."""


def long_source(services: int) -> str:
    """A file without mistakes with so many services (at most 250), `LINES` lines each."""
    return "".join(_SERVICE.format(n=number) for number in range(services))
