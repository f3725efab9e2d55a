"""Small questions and answers over one TCP connection, each timed: `python -m soak.exchange serve|ask ADDRESS PORT`.

`ask` goes on for --seconds and leaves in --into, as native doubles, when each exchange began and how long it took. The connection
is made once: where it breaks, the process fails.
"""

from __future__ import annotations

import argparse
import socket
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

_SIZE = 32
_PATIENCE = 30.0  # seconds until an answer that does not come is none


def serve(address: str, port: int) -> None:
    """Answers one client, until it goes."""
    with socket.create_server((address, port)) as listening:
        print("ready", flush=True)
        connection, _ = listening.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while question := connection.recv(_SIZE, socket.MSG_WAITALL):
                connection.sendall(question)


def ask(address: str, port: int, seconds: float) -> array[float]:
    """Asks for so long; the beginning and the length of each exchange, in seconds, one after the other."""
    found = array("d")
    with socket.create_connection((address, port), timeout=_PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = time.perf_counter()
        end = now + seconds
        number = 0
        while now < end:
            began, question = now, number.to_bytes(_SIZE, "big")
            connection.sendall(question)
            if _receive(connection) != question:
                raise ConnectionError(f"question {number} got another's answer")
            now = time.perf_counter()
            found.append(began)
            found.append(now - began)
            number += 1
    return found


def _receive(connection: socket.socket) -> bytes:
    answer = b""
    while len(answer) < _SIZE:
        more = connection.recv(_SIZE - len(answer))
        if not more:
            raise ConnectionError("the server has gone")
        answer += more
    return answer


def main(arguments: Sequence[str] | None = None) -> None:
    """The one side or the other."""
    parser = argparse.ArgumentParser(prog="python -m soak.exchange", description="exchange small questions and answers")
    parser.add_argument("side", choices=["serve", "ask"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args(arguments)
    if given.side == "serve":
        serve(given.address, given.port)
        return
    found = ask(given.address, given.port, given.seconds)
    if given.into:
        given.into.write_bytes(found.tobytes())


if __name__ == "__main__":
    main()
