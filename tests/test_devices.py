"""What is known of a device before a program goes on it."""

from __future__ import annotations

import pytest

from bench.lab import Lab
from pcnc_runtime.devices import device_facts, device_index
from pcnc_runtime.errors import RuntimeProblem

pytestmark = pytest.mark.kernel


def test_a_veth_device_and_the_loopback(lab: Lab) -> None:
    here, there = lab.namespace("here"), lab.namespace("there")
    lab.veth(here, "eth0", there, "eth0")
    here.run("ip", "link", "set", "dev", "eth0", "mtu", "1400")
    with here.entered():
        veth = device_facts("eth0")
        assert (veth.name, veth.has_ethernet, veth.is_up, veth.mtu, veth.driver) == ("eth0", True, True, 1400, "veth")
        assert veth.leaves_checksums_unfinished
        assert device_facts(veth.index) == veth
        assert device_index("eth0") == veth.index
        loopback = device_facts("lo")
        assert (loopback.has_ethernet, loopback.is_up, loopback.leaves_checksums_unfinished) == (True, True, False)
    here.run("ip", "link", "set", "dev", "eth0", "down")
    with here.entered():
        assert not device_facts("eth0").is_up


def test_a_device_without_ethernet(lab: Lab) -> None:
    here = lab.namespace("here")
    here.run("ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
    with here.entered():
        assert not device_facts("tun0").has_ethernet


@pytest.mark.parametrize("device", ["eth9", "", "much too long a name", "a/b", "nul\0", 0, -1, 1 << 40])
def test_what_is_no_device_is_told(lab: Lab, device: str | int) -> None:
    with lab.namespace("here").entered(), pytest.raises(RuntimeProblem) as caught:
        device_facts(device)
    assert caught.value.name == "no-such-device"
