"""Rewriting live connections: real TCP and UDP sockets with all offloads on, over both IPs, through assignments at TC."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import Lab, Namespace
from pcnc.cli.compile_service import Chosen, build_service
from pcnc.compile import check
from pcnc.source import Source
from pcnc_runtime.operations import load, unload

pytestmark = pytest.mark.kernel

# A client speaks to an address and a port that nobody has; both directions are rewritten on its own device.
REDIRECT = """
service redirect {
    chain egress {
        stage there {
            if ipv4 and l4 { if ipv4.dst == 192.0.2.9 { ipv4.dst = 10.79.0.1; l4.dport += 1000 } }
            if ipv6 and l4 { if ipv6.dst == 2001:db8::9 { ipv6.dst = fd00::1; l4.dport += 1000 } }
        }
    }
    chain ingress {
        stage back {
            if ipv4 and l4 { if ipv4.src == 10.79.0.1 { ipv4.src = 192.0.2.9; l4.sport -= 1000; ipv4.dscp = 10 } }
            if ipv6 and l4 { if ipv6.src == fd00::1 { ipv6.src = 2001:db8::9; l4.sport -= 1000; ipv6.flow_label = 7 } }
        }
    }
}
"""
SERVERS = {socket.AF_INET: ("10.79.0.1", "192.0.2.9"), socket.AF_INET6: ("fd00::1", "2001:db8::9")}
BYTES = 4 << 20


@pytest.fixture(params=[True, False], ids=["offload", "no-offload"])
def ends(
    request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Namespace, Namespace]]:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    client, server = lab.namespace("client"), lab.namespace("server")
    lab.veth(client, "c0", server, "s0", ipv6=True, checksum_offload=request.param)
    for namespace, device, four, six in ((client, "c0", "10.79.0.2", "fd00::2"), (server, "s0", "10.79.0.1", "fd00::1")):
        namespace.run("ip", "address", "add", f"{four}/24", "dev", device)
        namespace.run("ip", "-6", "address", "add", f"{six}/64", "dev", device, "nodad")
    client.run("ip", "route", "add", "192.0.2.9", "via", "10.79.0.1")
    client.run("ip", "-6", "route", "add", "2001:db8::9", "via", "fd00::1")
    program = check(Source("redirect.pcn", REDIRECT)).program
    with client.entered():
        load(build_service(Chosen(program, program.services[0]), "tc"), "redirect", ["c0"])
    yield client, server
    with client.entered():
        unload("redirect")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_tcp_carries_megabytes(ends: tuple[Namespace, Namespace], family: socket.AddressFamily) -> None:
    client, server = ends
    real, wanted = SERVERS[family]
    with server.entered():
        listening = socket.create_server((real, 9000), family=family)
    received: list[int] = []

    def serve() -> None:
        accepted, _ = listening.accept()
        with accepted:
            total = 0
            while chunk := accepted.recv(1 << 16):
                total += len(chunk)
            received.append(total)
            accepted.sendall(b"done" * 1000)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with client.entered():
        asking = socket.create_connection((wanted, 8000), timeout=10)
    with asking, listening:
        assert asking.getpeername()[:2] == (wanted, 8000)
        asking.sendall(bytes(BYTES))
        asking.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := asking.recv(1 << 16):
            answer += chunk
        thread.join()
        assert received == [BYTES]
        assert answer == b"done" * 1000


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_udp_asks_and_is_answered(ends: tuple[Namespace, Namespace], family: socket.AddressFamily) -> None:
    client, server = ends
    real, wanted = SERVERS[family]
    with server.entered():
        answering = socket.socket(family, socket.SOCK_DGRAM)
    with client.entered():
        asking = socket.socket(family, socket.SOCK_DGRAM)
    with answering, asking:
        answering.bind((real, 9053))
        answering.settimeout(5)
        asking.connect((wanted, 8053))
        asking.settimeout(5)
        for size in (0, 1, 2, 511, 1400):
            asking.send(bytes(size))
            question, asker = answering.recvfrom(2048)
            answering.sendto(question + b"!", asker)
            assert asking.recv(2048) == bytes(size) + b"!"


def test_xdp_on_veth_warns_of_what_it_cannot_mend(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    here, there = lab.namespace("here"), lab.namespace("there")
    lab.veth(here, "h0", there, "t0")
    text = "service s { chain ingress { stage t { if ipv4 { FIELD } } } }"
    for field, warned in (("ipv4.dst = 10.0.0.1", True), ("ipv4.ttl -= 1", False)):
        program = check(Source("s.pcn", text.replace("FIELD", field))).program
        with here.entered():
            change = load(build_service(Chosen(program, program.services[0]), "xdp"), "warns", ["h0"])
            unload("warns")
        assert [("ipv4.dst" in warning, "`h0`" in warning) for warning in change.warnings] == [(True, True)] * warned
