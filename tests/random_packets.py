"""Frames at random: well formed, odd and broken ones, drawn from small pools of values so that rules meet them."""

from __future__ import annotations

import struct
from random import Random

from pcnc.checksums import internet_checksum, pseudo_header

ADDRESSES4 = ("10.0.0.1", "10.0.1.1", "10.128.0.1", "192.0.2.1", "192.0.2.129", "224.0.0.5", "255.255.255.255")
ADDRESSES6 = ("2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::1", "ff02::1", "ffff:ffff:ffff:ffff::")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01")
PORTS = (0, 22, 53, 80, 443, 1023, 1024, 65535)
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)


def packed4(text: str) -> bytes:
    """An IPv4 address as it lies in a packet."""
    return bytes(map(int, text.split(".")))


def packed6(text: str) -> bytes:
    """An IPv6 address as it lies in a packet."""
    import ipaddress

    return ipaddress.IPv6Address(text).packed


def packed_mac(text: str) -> bytes:
    """A MAC address as it lies in a packet."""
    return bytes.fromhex(text.replace(":", ""))


def random_frame(random: Random) -> bytes:
    """A frame of at least 14 bytes, the least that a program in the kernel is given."""
    tags = b""
    kind, rest = random_network(random)
    for _ in range(random.choices((0, 1, 2, 3), (6, 2, 2, 1))[0]):
        tags = struct.pack("!HH", random.choice((0x8100, 0x88A8)), random.getrandbits(16)) + tags
    frame = packed_mac(random.choice(MACS)) + packed_mac(random.choice(MACS)) + tags + struct.pack("!H", kind) + rest
    fate = random.random()
    if fate < 0.15:
        frame = frame[: random.randint(14, max(14, len(frame)))]
    elif fate < 0.25:
        at = random.randrange(12, len(frame))
        frame = frame[:at] + bytes([random.getrandbits(8)]) + frame[at + 1 :]
    return frame


def random_network(random: Random) -> tuple[int, bytes]:
    """An EtherType and what follows it."""
    choice = random.random()
    if choice < 0.5:
        return 0x0800, random_ipv4(random)
    if choice < 0.85:
        return 0x86DD, random_ipv6(random)
    if choice < 0.93:
        addresses = packed_mac(random.choice(MACS)) + packed4(random.choice(ADDRESSES4))
        kinds = struct.pack("!HHBBH", 1, 0x0800, 6, 4, random.choice((1, 2)))
        return 0x0806, kinds + addresses + packed_mac(random.choice(MACS)) + packed4(random.choice(ADDRESSES4))
    return random.choice((0x88CC, 0x88CC, 0x8847, 0x0000)), random.randbytes(random.randrange(40))


def random_ipv4(random: Random) -> bytes:
    """An IPv4 packet, some with options, some a fragment, some with a wrong sum or length."""
    source, destination = packed4(random.choice(ADDRESSES4)), packed4(random.choice(ADDRESSES4))
    options = random.randbytes(4 * random.choices((0, 1, 10), (8, 1, 1))[0])
    protocol = random.choices((6, 17, 1, 47), (5, 4, 2, 1))[0]
    body = random_transport(random, protocol, 4, source, destination)
    offset = random.choices((0, 0x2000, 1, 0x2001, 0x1FFF), (12, 1, 1, 1, 1))[0]
    length = 20 + len(options) + len(body) + random.choices((0, -4, 8, -1000), (14, 1, 1, 1))[0]
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, random.getrandbits(8), max(0, length), random.getrandbits(16), offset,
                       random.choice((0, 1, 2, 64, 255)), protocol, 0)  # fmt: skip
    checksum = internet_checksum(head + source + destination + options) if random.random() < 0.8 else random.choice((0, 0xFFFF, 7))
    return head[:10] + struct.pack("!H", checksum) + source + destination + options + body + bytes(random.choice((0, 0, 6)))


def random_ipv6(random: Random) -> bytes:
    """An IPv6 packet, some with up to nine extension headers."""
    source, destination = packed6(random.choice(ADDRESSES6)), packed6(random.choice(ADDRESSES6))
    protocol = random.choices((6, 17, 58, 50), (5, 4, 2, 1))[0]
    body = random_transport(random, protocol, 6, source, destination)
    following = protocol
    for _ in range(random.choices((0, 1, 2, 7, 8, 9), (10, 3, 2, 1, 1, 1))[0]):
        kind = random.choice(EXTENSIONS)
        if kind == 44:
            header = struct.pack("!BBHI", following, random.getrandbits(8), random.choices((0, 1, 8, 9), (5, 1, 1, 1))[0], 1)
        elif kind == 51:
            units = random.choice((2, 4))
            header = bytes([following, units]) + random.randbytes((units + 2) * 4 - 2)
        else:
            units = random.choice((0, 0, 1))
            header = bytes([following, units]) + random.randbytes((units + 1) * 8 - 2)
        body, following = header + body, kind
    length = len(body) + random.choices((0, -8, 8), (14, 1, 1))[0]
    first = 6 << 28 | random.getrandbits(28)
    return struct.pack("!IHBB", first, max(0, length), following, random.choice((0, 1, 64, 255))) + source + destination + body


def random_transport(random: Random, protocol: int, version: int, source: bytes, destination: bytes) -> bytes:
    """TCP, UDP, ICMP, ICMPv6 or noise, some with a wrong checksum."""
    payload = random.randbytes(random.choice((0, 1, 8, 33)))
    ports = struct.pack("!HH", random.choice(PORTS), random.choice(PORTS))
    if protocol == 6:
        options = random.randbytes(4 * random.choice((0, 0, 3)))
        words = (random.getrandbits(32), random.getrandbits(32), (5 + len(options) // 4) << 4, random.choice((2, 16, 18, 4, 17, 0)))
        segment = ports + struct.pack("!IIBBHHH", *words, random.getrandbits(16), 0, 0) + options + payload
        at = 16
    elif protocol == 17:
        length = 8 + len(payload) + random.choices((0, 5, -9), (10, 1, 1))[0]
        segment, at = ports + struct.pack("!HH", max(0, length), 0) + payload, 6
    elif protocol in (1, 58):
        kinds = (0, 3, 8, 11) if protocol == 1 else (1, 128, 135)
        segment, at = bytes([random.choice(kinds), random.choice((0, 1, 4)), 0, 0]) + random.randbytes(4) + payload, 2
    else:
        return payload
    fate = random.random()
    if fate < 0.75:
        pseudo = b""
        if protocol != 1:
            numbers = int.from_bytes(source, "big"), int.from_bytes(destination, "big")
            pseudo = pseudo_header(version, *numbers, protocol, len(segment))
        checksum = internet_checksum(pseudo + segment)
        if protocol == 17 and checksum == 0:
            checksum = 0xFFFF
    else:
        checksum = random.choice((0, 0, 1, random.getrandbits(16)))
    return segment[:at] + struct.pack("!H", checksum) + segment[at + 2 :]
