"""Clients that talk while versions are flipped, in small: no connection breaks; how fast it goes is not asked here."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest

from pcnc_runtime import operations
from soak.clients import Clients, Exchanges, Pauses, Transfer, measure_clients
from soak.exchange import ask, serve
from soak.flipper import segment_of

QUIET = Pauses(10_000, 1e-5, 2e-5, 3e-5, 4e-5, 0)
GOOD = Clients(
    seconds=60.0,
    transfer=Transfer(4.9e9, 5e9, 0.02, 15, 600, 600, 0, 12),
    exchanges=Exchanges(QUIET, QUIET, 600, 600, 0),
    dropped=0,
)


def test_what_clients_must_not_see_is_bounded() -> None:
    assert all(bound.held for bound in GOOD.bounds())
    paused = replace(QUIET, longest=0.02, long=1)
    for bad in (
        replace(GOOD, dropped=1),
        replace(GOOD, transfer=replace(GOOD.transfer, lost=0.051)),
        replace(GOOD, transfer=replace(GOOD.transfer, broken=1)),
        replace(GOOD, transfer=replace(GOOD.transfer, flips=500)),
        replace(GOOD, exchanges=replace(GOOD.exchanges, broken=1)),
        replace(GOOD, exchanges=replace(GOOD.exchanges, with_flips=paused)),
    ):
        assert not all(bound.held for bound in bad.bounds())
    both = replace(GOOD, exchanges=replace(GOOD.exchanges, with_flips=paused, without=paused))
    assert all(bound.held for bound in both.bounds()), "a pause that comes without flips as well is not theirs"


def test_segments_follow_each_other() -> None:
    assert [segment_of(moment, 10.0, 2.0) for moment in (9.9, 10.0, 11.9, 12.0, 14.5)] == [-1, 0, 0, 1, 2]


def test_exchanges_are_timed_and_a_server_that_goes_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = threading.Thread(target=serve, args=("127.0.0.1", port))
    serving.start()
    found = _ask(port, 0.1)
    serving.join()
    began, took = found[::2], found[1::2]
    assert len(began) > 10
    assert all(before + length <= after for before, length, after in zip(began, took, began[1:], strict=False))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        accepting = threading.Thread(target=lambda: deaf.accept()[0].close())
        accepting.start()
        with pytest.raises(ConnectionError):
            ask("127.0.0.1", deaf.getsockname()[1], 1.0)
        accepting.join()


def _ask(port: int, seconds: float) -> list[float]:
    for _ in range(500):
        try:
            return list(ask("127.0.0.1", port, seconds))
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError("nobody serves")


@pytest.mark.kernel
def test_no_connection_breaks_while_versions_are_flipped() -> None:
    before = operations.loaded_names()
    result = measure_clients(seconds=2.0)
    assert result.transfer.broken == result.exchanges.broken == result.dropped == 0
    assert result.transfer.with_flips > 0
    assert result.transfer.pairs >= 1
    for run in (result.transfer, result.exchanges):
        assert run.flips > 0
        assert run.flips_of_other > 0
    for pauses in (result.exchanges.with_flips, result.exchanges.without):
        assert pauses.exchanges > 0
        assert 0 < pauses.median <= pauses.p99 <= pauses.p999 <= pauses.longest
    assert operations.loaded_names() == before
