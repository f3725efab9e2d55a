"""Two people who never stop talking: UDP across a veth pair, every question numbered, every answer awaited."""

from __future__ import annotations

import socket
import threading
import time
from typing import Self

from bench.lab import Namespace, enter

PORT = 7
PAUSE = 0.0005
"""Seconds between two questions."""


class Server:
    """Answers every datagram with itself."""

    def __init__(self, namespace: Namespace, address: str) -> None:
        with namespace.entered():
            self._socket = _socket(address, PORT)
        self._stopped = False
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while not self._stopped:
            try:
                question, asker = self._socket.recvfrom(64)
            except TimeoutError:
                continue
            self._socket.sendto(question, asker)

    def close(self) -> None:
        """Stops answering."""
        self._stopped = True
        self._thread.join()
        self._socket.close()


class Client:
    """Asks one question after the other. `sent` and `answered` count; both are read while it talks."""

    def __init__(self, namespace: Namespace, address: str, server: str) -> None:
        with namespace.entered():
            self._socket = _socket(address, 0)
        self._namespace = namespace
        self._server = server
        self._stopped = False
        self.sent = 0
        self.answered = 0
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._ask, self._listen)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        enter(self._namespace.path)
        while not self._stopped:
            self._socket.sendto(self.sent.to_bytes(8, "big"), (self._server, PORT))
            self.sent += 1
            time.sleep(PAUSE)

    def _listen(self) -> None:
        last = -1
        while not self._stopped or self.answered < self.sent:
            try:
                number = int.from_bytes(self._socket.recv(64), "big")
            except TimeoutError:
                if self._stopped:
                    return
                continue
            # An answer counts once, and only in its order: a doubled or late one would show as a loss.
            if number > last:
                last, self.answered = number, self.answered + 1

    def hush(self) -> int:
        """Stops asking, waits for the answers under way, and returns how many questions were never answered."""
        self._stopped = True
        for thread in self._threads:
            thread.join()
        return self.sent - self.answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hush()
        self._socket.close()


def _socket(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((address, port))
    made.settimeout(0.2)
    return made
