"""Literals: what each writing means, and what is refused with which words."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcnc.literals import (
    parse_address,
    parse_duration,
    parse_integer,
    parse_ipv4,
    parse_ipv6,
    parse_mac,
    parse_prefix,
)

pytestmark = pytest.mark.text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("80", 80),
        ("1_000", 1000),
        ("0x800", 0x800),
        ("0xFF_ff", 0xFFFF),
        ("0b1010", 10),
        ("0b1111_0000", 0xF0),
        ("64k", 65536),
        ("1M", 1 << 20),
        ("2G", 2 << 30),
        ("340282366920938463463374607431768211455", (1 << 128) - 1),
        ("0x" + "f" * 32, (1 << 128) - 1),
    ],
)
def test_integers(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a number"),
        ("1_", "ends with `_`"),
        ("1__0", "two `_` in a row"),
        ("0x", "digits must follow `0x`"),
        ("0b", "digits must follow `0b`"),
        ("0b12", "the digits 0 and 1"),
        ("0xg", "0 to 9 and a to f"),
        ("010", "begins with a zero"),
        ("00", "begins with a zero"),
        ("12q", "is not a number"),
        ("0x1k", "0 to 9 and a to f"),
        ("\u0661", "is not a number"),
        ("²", "is not a number"),
        ("-1", "is not a number"),
        ("340282366920938463463374607431768211456", "does not fit into 128 bits"),
        ("9" * 29 + "k", None),
        ("9" * 39 + "G", "does not fit into 128 bits"),
        ("9" * 5000, "does not fit into 128 bits"),
        ("0x" + "f" * 5000, "does not fit into 128 bits"),
    ],
)
def test_what_is_no_integer(text: str, reason: str | None) -> None:
    if reason is None:
        assert parse_integer(text) == (10**29 - 1) * 1024
        return
    with pytest.raises(ValueError, match=reason):
        parse_integer(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1ns", 1), ("2us", 2_000), ("5ms", 5_000_000), ("30s", 30 * 10**9), ("10m", 600 * 10**9), ("1h", 3600 * 10**9)],
)
def test_durations(text: str, value: int) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "5", "ms", "5 ms", "5d", "5_ms", "5124096h", "9" * 5000 + "s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"length of time|longer than"):
        parse_duration(text)


@given(st.ip_addresses(v=4))
def test_every_ipv4_address(address: ipaddress.IPv4Address) -> None:
    assert parse_ipv4(str(address)) == int(address)


@pytest.mark.parametrize(
    "text", ["10.0.0.300", "10.0.0", "1.2.3.4.5", "01.2.3.4", "1.2.3.", "1.2.3.-4", "1.2.3.\u0664", "1.2.3.1000", ""]
)
def test_what_is_no_ipv4_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 address"):
        parse_ipv4(text)


@given(st.ip_addresses(v=6))
def test_every_ipv6_address(address: ipaddress.IPv6Address) -> None:
    assert parse_ipv6(str(address)) == int(address)


def test_ipv6_with_an_ipv4_tail() -> None:
    assert parse_ipv6("::ffff:10.0.0.1") == 0xFFFF_0A00_0001


@pytest.mark.parametrize(
    "text", ["1::2::3", ":", "", "12345::", "::1%eth0", "fe80::1/64", "::ffff:10.0.0.300", "1:2:3:4:5:6:7:8:9"]
)
def test_what_is_no_ipv6_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv6 address"):
        parse_ipv6(text)


def test_mac_addresses() -> None:
    assert parse_mac("02:00:00:00:00:01") == 0x020000000001
    assert parse_mac("Ff:fF:FF:ff:ff:ff") == 0xFFFFFFFFFFFF


@pytest.mark.parametrize("text", ["02:00:00:00:00", "2:0:0:0:0:1", "02-00-00-00-00-01", "02:00:00:00:00:0g", ""])
def test_what_is_no_mac_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC address"):
        parse_mac(text)


def test_addresses_say_their_kind() -> None:
    assert parse_address("10.0.0.1") == ("ipv4", 0x0A000001)
    assert parse_address("::1") == ("ipv6", 1)
    assert parse_address("02:00:00:00:00:01") == ("mac", 0x020000000001)


def test_prefixes() -> None:
    assert parse_prefix("10.0.0.0/8") == ("ipv4", 0x0A000000, 8)
    assert parse_prefix("0.0.0.0/0") == ("ipv4", 0, 0)
    assert parse_prefix("10.0.0.1/8") == ("ipv4", 0x0A000001, 8)
    assert parse_prefix("2001:db8::/32") == ("ipv6", 0x20010DB8 << 96, 32)
    assert parse_prefix("::/0") == ("ipv6", 0, 0)


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.0/40", "::/129", "10.0.0.0/", "10.0.0.0", "10.0.0.0/08", "10.0.0.0/-1", "::/9999999"]
)
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix"):
        parse_prefix(text)


@given(st.text())
def test_nothing_but_value_errors(text: str) -> None:
    for function in (parse_integer, parse_duration, parse_ipv4, parse_ipv6, parse_mac, parse_address, parse_prefix):
        with contextlib.suppress(ValueError):
            function(text)
