"""Two hosts on a veth pair with real sockets: a client with one good and one bad address, and a server that carries services."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from bench.lab import Lab, Namespace
from pcnc.manifest import Hook
from pcnc_runtime.attach import XdpMode
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import load, unload
from tests.live_service import compiled, new_name

SERVER, GOOD, BAD = "10.80.0.1", "10.80.0.2", "10.80.0.66"
SERVER6, GOOD6, BAD6 = "fd00:80::1", "fd00:80::2", "fd00:80::66"
TCP_PORT, UDP_PORT = 9000, 9001

Place = tuple[str, Hook, XdpMode | None]
HOOKS: tuple[Place, ...] = (
    ("native", "xdp", XdpMode.NATIVE),
    ("generic", "xdp", XdpMode.GENERIC),
    ("tc", "tc", None),
)
"""Where a service can sit."""


class Hosts:
    """A client and a server that answers TCP and UDP over IPv4 and IPv6; `device` names both ends."""

    def __init__(self, lab: Lab, device: str = "eth0") -> None:
        self.client, self.server, self.device = lab.namespace("client"), lab.namespace("server"), device
        lab.veth(self.client, device, self.server, device, ipv6=True)
        for namespace, addresses in ((self.client, (GOOD, BAD, GOOD6, BAD6)), (self.server, (SERVER, SERVER6))):
            for address in addresses:
                six = ":" in address
                options = ["nodad"] if six else []
                namespace.run("ip", "address", "add", f"{address}/{64 if six else 24}", "dev", device, *options)
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        for address in (SERVER, SERVER6):
            with self.server.entered():
                listening = socket.create_server((address, TCP_PORT), family=_family(address))
                answering = socket.socket(_family(address), socket.SOCK_DGRAM)
                answering.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                answering.bind((address, UDP_PORT))
            self._sockets += [listening, answering]
            for target, given in ((_serve, listening), (_answer, answering)):
                self._threads.append(threading.Thread(target=target, args=(given,), daemon=True))
                self._threads[-1].start()

    def close(self) -> None:
        """Ends the servers."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(2)

    def pings(self, source: str) -> bool:
        """Whether three echoes come back, or none does; AssertionError where it is some."""
        command = ["ping", "-n", "-q", "-c", "3", "-i", "0.02", "-W", "0.5", "-I", source, _server(source)]
        done = subprocess.run(self.client.command(*command), capture_output=True, text=True, check=False)
        assert ("3 received" in done.stdout) != (" 0 received" in done.stdout), done.stdout + done.stderr
        return done.returncode == 0

    def connects(self, source: str, size: int = 200_000) -> bool:
        """Whether a TCP connection from an address carries some data there and back."""
        with self.client.entered():
            asking = socket.socket(_family(source), socket.SOCK_STREAM)
        with asking:
            asking.settimeout(0.7)
            asking.bind((source, 0))
            try:
                asking.connect((_server(source), TCP_PORT))
            except TimeoutError:
                return False
            asking.settimeout(5)
            sender = threading.Thread(target=_send, args=(asking, size))
            sender.start()
            received = 0
            while chunk := asking.recv(1 << 16):
                received += len(chunk)
            sender.join()
            assert received == size
            return True

    def asks(self, source: str) -> bool:
        """Whether a datagram from an address is answered."""
        with self.client.entered():
            asking = socket.socket(_family(source), socket.SOCK_DGRAM)
        with asking:
            asking.bind((source, 0))
            asking.settimeout(0.2)
            for _ in range(3):
                asking.sendto(b"question", (_server(source), UDP_PORT))
                with suppress(TimeoutError):
                    return asking.recv(64) == b"question"
            return False

    def reach(self, source: str) -> list[bool]:
        """Ping, TCP and UDP from an address."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda each: each(source), (self.pings, self.connects, self.asks)))


class Talker:
    """Asks the server one numbered question after the other, from a thread, and keeps which of them were answered."""

    def __init__(self, hosts: Hosts, source: str) -> None:
        with hosts.client.entered():
            self._socket = socket.socket(_family(source), socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((source, 0))
        self._socket.settimeout(0.5)
        self._server = (_server(source), UDP_PORT)
        self._hushed = False
        self.sent = 0
        self.answered: list[int] = []
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._ask, self._listen)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._hushed:
            self._socket.sendto(self.sent.to_bytes(8), self._server)
            self.sent += 1
            time.sleep(0.001)

    def _listen(self) -> None:
        while True:
            try:
                self.answered.append(int.from_bytes(self._socket.recv(64)))
            except TimeoutError:
                if self._hushed:
                    return

    def some(self, count: int = 5) -> range:
        """The numbers of some questions that were asked, all of them, while this ran."""
        first = self.sent + 1
        deadline = time.monotonic() + 60
        while self.sent < first + count:
            assert time.monotonic() < deadline, "nobody talks"
            time.sleep(0.001)
        asked = range(first, self.sent)
        time.sleep(0.005)  # what was sent is on its way
        return asked

    def hush(self) -> None:
        """Asks no more, and waits for the last answers."""
        self._hushed = True
        for thread in self._threads:
            thread.join()
        self._socket.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _server(source: str) -> str:
    return SERVER6 if ":" in source else SERVER


def _send(asking: socket.socket, size: int) -> None:
    asking.sendall(bytes(size))
    asking.shutdown(socket.SHUT_WR)


def _serve(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            accepted, _ = listening.accept()
            threading.Thread(target=_echo, args=(accepted,), daemon=True).start()


def _echo(accepted: socket.socket) -> None:
    with accepted, suppress(OSError):
        while chunk := accepted.recv(1 << 16):
            accepted.sendall(chunk)


def _answer(answering: socket.socket) -> None:
    with suppress(OSError):
        while True:
            question, asker = answering.recvfrom(2048)
            if asker is None:  # shut down
                return
            answering.sendto(question, asker)


@contextmanager
def on(namespace: Namespace, text: str, hook: Hook, mode: XdpMode | None, *devices: str) -> Iterator[str]:
    """A service on devices, gone afterwards; its name."""
    made, name = compiled(text, hook), new_name()
    with namespace.entered():
        load(made.bundle, name, devices or ["eth0"], mode=mode, source=made.source)
    try:
        yield name
    finally:
        with suppress(RuntimeProblem):
            unload(name)


def iperf3(client: Namespace, server: Namespace, *options: str) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """A run of iperf3 under way: the client's process, whose output is JSON, and the server's, which ends with it."""
    serving = server.start("iperf3", "--server", "--one-off", "--forceflush", "--bind", SERVER)
    assert serving.stdout is not None
    while "listening" not in serving.stdout.readline():
        assert serving.poll() is None
    return client.start("iperf3", "--client", SERVER, "--bind", GOOD, "--json", *options), serving


def told_by(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What an iperf3 says at its end. AssertionError where it failed."""
    said, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, said
    found: dict[str, Any] = json.loads(said)
    return found
