"""Programs on devices: on, off, replaced, and never anybody else's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.lab import Lab, Namespace
from pcnc_runtime.attach import (
    Direction,
    XdpMode,
    attach_tc,
    attach_xdp,
    detach_tc,
    detach_xdp,
    replace_tc,
    replace_xdp,
    tc_program_id,
    xdp_attachment,
)
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.pins import bpffs, pin, unlink
from pcnc_runtime.probe import load_minimal
from pcnc_runtime.programs import Program, ProgramType

pytestmark = pytest.mark.kernel

DEVICE = "eth0"


@pytest.fixture
def host(lab: Lab) -> Iterator[Namespace]:
    """A namespace with a veth device `eth0`, entered."""
    here, there = lab.namespace("here"), lab.namespace("there")
    lab.veth(here, DEVICE, there, "eth0")
    with here.entered():
        yield here


@pytest.fixture
def xdp() -> Iterator[Program]:
    with load_minimal(ProgramType.XDP) as program:
        yield program


@pytest.fixture
def other_xdp() -> Iterator[Program]:
    with load_minimal(ProgramType.XDP) as program:
        yield program


@pytest.fixture
def tc() -> Iterator[Program]:
    with load_minimal(ProgramType.SCHED_CLS) as program:
        yield program


@contextmanager
def told(name: str, *words: str) -> Iterator[None]:
    """Expects a problem of a name, whose message holds some words."""
    with pytest.raises(RuntimeProblem) as caught:
        yield
    assert caught.value.name == name, caught.value.message
    assert all(word in caught.value.message for word in words), caught.value.message


@pytest.mark.parametrize("mode", [XdpMode.NATIVE, XdpMode.GENERIC])
def test_xdp_goes_on_and_off_again(host: Namespace, xdp: Program, mode: XdpMode) -> None:
    assert xdp_attachment(DEVICE) is None
    assert attach_xdp(DEVICE, xdp.fd, mode) is mode
    found = xdp_attachment(host.index(DEVICE))
    assert found is not None
    assert (found.mode, found.program_id) == (mode, xdp.facts.id)
    assert f"prog/xdp id {xdp.facts.id}" in host.run("ip", "link", "show", "dev", DEVICE)
    assert detach_xdp(DEVICE, xdp.fd, mode)
    assert xdp_attachment(DEVICE) is None
    assert not detach_xdp(DEVICE, xdp.fd, mode)


def test_the_mode_is_native_where_the_driver_can_and_generic_elsewhere(host: Namespace, xdp: Program) -> None:
    assert attach_xdp(DEVICE, xdp.fd) is XdpMode.NATIVE
    with told("not-supported", "`lo`"):
        attach_xdp("lo", xdp.fd, XdpMode.NATIVE)
    assert attach_xdp("lo", xdp.fd) is XdpMode.GENERIC
    assert detach_xdp("lo", xdp.fd)
    assert detach_xdp(DEVICE, xdp.fd)


@pytest.mark.parametrize("theirs", [XdpMode.NATIVE, XdpMode.GENERIC])
@pytest.mark.parametrize("ours", [XdpMode.NATIVE, XdpMode.GENERIC, None])
def test_a_device_that_carries_another_program_is_left_alone(
    host: Namespace, xdp: Program, other_xdp: Program, ours: XdpMode | None, theirs: XdpMode
) -> None:
    attach_xdp(DEVICE, other_xdp.fd, theirs)
    before = xdp_attachment(DEVICE)
    with told("device-carries-xdp", "`pcnc_probe`", str(other_xdp.facts.id), theirs):
        attach_xdp(DEVICE, xdp.fd, ours)
    with told("device-carries-xdp"):
        detach_xdp(DEVICE, xdp.fd)
    with told("device-carries-xdp"):
        replace_xdp(DEVICE, other_xdp.fd, xdp.fd, theirs)
    assert xdp_attachment(DEVICE) == before


def test_one_program_takes_the_place_of_another(host: Namespace, xdp: Program, other_xdp: Program) -> None:
    attach_xdp(DEVICE, xdp.fd, XdpMode.NATIVE)
    replace_xdp(DEVICE, other_xdp.fd, xdp.fd, XdpMode.NATIVE)
    found = xdp_attachment(DEVICE)
    assert found is not None
    assert found.program_id == other_xdp.facts.id


def test_a_program_that_holds_a_device_by_a_link_is_named(host: Namespace, xdp: Program, other_xdp: Program) -> None:
    from pcnc_runtime.libbpf import checked, library

    link = checked(library().bpf_link_create(other_xdp.fd, host.index(DEVICE), 37, None))
    try:
        with told("device-carries-xdp", str(other_xdp.facts.id)):
            attach_xdp(DEVICE, xdp.fd)
    finally:
        os.close(link)


def test_what_xdp_carries_outlives_the_descriptor(host: Namespace) -> None:
    with load_minimal(ProgramType.XDP) as program:
        attach_xdp(DEVICE, program.fd)
        id = program.facts.id
    found = xdp_attachment(DEVICE)
    assert found is not None
    assert found.program_id == id


@pytest.mark.parametrize("device", ["eth9", "", "a name that is much too long", 9999])
def test_a_device_that_is_not_there_is_told(host: Namespace, xdp: Program, tc: Program, device: str | int) -> None:
    for attempt in (
        lambda: attach_xdp(device, xdp.fd),
        lambda: attach_tc(device, Direction.INGRESS, tc.fd),
        lambda: xdp_attachment(device),
        lambda: tc_program_id(device, Direction.INGRESS),
    ):
        with told("no-such-device", f"`{device}`"):
            attempt()
    assert not detach_xdp(device, xdp.fd)
    assert not detach_tc(device, Direction.INGRESS, tc.fd)


def test_a_program_of_the_wrong_kind_is_refused(host: Namespace, xdp: Program, tc: Program) -> None:
    for attempt in (lambda: attach_xdp(DEVICE, tc.fd), lambda: attach_tc(DEVICE, Direction.INGRESS, xdp.fd)):
        with pytest.raises(RuntimeProblem) as caught:
            attempt()
        assert caught.value.errno == errno.EINVAL
    assert xdp_attachment(DEVICE) is None
    assert tc_program_id(DEVICE, Direction.INGRESS) is None


@pytest.mark.parametrize("direction", list(Direction))
def test_tc_goes_on_and_off_again(host: Namespace, tc: Program, direction: Direction) -> None:
    qdiscs = host.run("tc", "qdisc", "show", "dev", DEVICE)
    assert tc_program_id(DEVICE, direction) is None
    assert attach_tc(DEVICE, direction, tc.fd, name="pcnc:fw")
    assert tc_program_id(DEVICE, direction) == tc.facts.id
    (other,) = set(Direction) - {direction}
    assert tc_program_id(DEVICE, other) is None
    shown = host.run("tc", "filter", "show", "dev", DEVICE, direction)
    assert "protocol all pref 112 bpf" in shown
    assert "handle 0x70636e63 pcnc:fw direct-action" in shown
    with told("device-carries-tc", f"id {tc.facts.id}"):
        attach_tc(DEVICE, direction, tc.fd)
    assert detach_tc(DEVICE, direction, tc.fd, remove_qdisc=True)
    assert not detach_tc(DEVICE, direction, tc.fd)
    assert host.run("tc", "qdisc", "show", "dev", DEVICE) == qdiscs


def test_a_filter_that_is_not_ours_stays(host: Namespace, tc: Program) -> None:
    host.run("tc", "qdisc", "add", "dev", DEVICE, "clsact")
    place = bpffs() / f"pcnc_test_{os.getpid()}_theirs"
    with load_minimal(ProgramType.SCHED_CLS) as program:
        pin(program.fd, place)
    host.run("tc", "filter", "add", "dev", DEVICE, "egress", "prio", "7", "bpf", "da", "object-pinned", str(place))
    unlink(place)
    theirs = host.run("tc", "filter", "show", "dev", DEVICE, "egress")
    assert not attach_tc(DEVICE, Direction.EGRESS, tc.fd)
    with load_minimal(ProgramType.SCHED_CLS) as stranger, told("device-carries-tc", str(tc.facts.id)):
        detach_tc(DEVICE, Direction.EGRESS, stranger.fd)
    assert tc_program_id(DEVICE, Direction.EGRESS) == tc.facts.id
    assert detach_tc(DEVICE, Direction.EGRESS, tc.fd, remove_qdisc=True)
    assert host.run("tc", "filter", "show", "dev", DEVICE, "egress") == theirs


def test_one_tc_program_takes_the_place_of_another(host: Namespace, tc: Program) -> None:
    attach_tc(DEVICE, Direction.INGRESS, tc.fd)
    with load_minimal(ProgramType.SCHED_CLS) as following:
        replace_tc(DEVICE, Direction.INGRESS, following.fd, name="pcnc:fw")
        assert tc_program_id(DEVICE, Direction.INGRESS) == following.facts.id
    assert host.run("tc", "filter", "show", "dev", DEVICE, "ingress").count("direct-action") == 1


def test_whoever_has_no_privilege_is_told(host: Namespace, xdp: Program, tc: Program) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        for attempt in (
            lambda: attach_xdp(DEVICE, xdp.fd),
            lambda: attach_tc(DEVICE, Direction.INGRESS, tc.fd),
            lambda: load_minimal(ProgramType.XDP),
        ):
            try:
                attempt()
            except RuntimeProblem as problem:
                os.write(writing, f"{problem.name} ".encode())
            except OSError as error:
                os.write(writing, f"{errno.errorcode[error.errno or 0]} ".encode())
            else:
                os.write(writing, b"done ")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        assert said.read().split() == ["no-privilege", "no-privilege", "EPERM"]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert xdp_attachment(DEVICE) is None


def test_attaching_keeps_no_descriptor(host: Namespace, xdp: Program, tc: Program) -> None:
    def all_of_it() -> None:
        attach_xdp(DEVICE, xdp.fd)
        detach_xdp(DEVICE, xdp.fd)
        attach_tc(DEVICE, Direction.INGRESS, tc.fd)
        detach_tc(DEVICE, Direction.INGRESS, tc.fd)

    all_of_it()
    before = set(os.listdir("/proc/self/fd"))
    all_of_it()
    assert set(os.listdir("/proc/self/fd")) == before
