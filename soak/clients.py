"""Real clients while a service is flipped ten times a second: a TCP transfer that must not suffer, exchanges that must not pause.

A process flips the service that the clients' packets meet for a while, then for as long, with the same work, one that no packet
meets, and so on. What others do on the machine falls on both alike, and so does what the flips cost it: the difference is theirs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from rich.table import Table

from bench.lab import Lab, Namespace
from bench.swaps import loaded, percentile, version
from pcnc_runtime import operations
from soak.bounds import Bound, at_least, at_most, bounds_table, exactly
from soak.flipper import segment_of

SECONDS = 60.0
"""How long the service that the clients meet is flipped, and how long the other."""

RATE = 10.0
PAUSE = 0.01
MOST_LOST = 0.05
"""Share of the throughput without flips that they may cost."""

_SEGMENT = 2.0
_SAMPLE = 0.25
_LEAD = 1.5  # seconds for processes to begin
_SERVER, _CLIENT = "192.0.2.1", "192.0.2.2"
_PORT = 9000
_MET, _OTHER = 0, 1


@dataclass(frozen=True, slots=True)
class Transfer:
    """A TCP transfer's bits a second, the medians of segments in which the met service was flipped, and in which the other was.

    `lost` is the share of the throughput that the flips cost: the median of pairs, each a segment and the one right behind it.
    """

    with_flips: float
    without: float
    lost: float
    pairs: int
    flips: int
    flips_of_other: int
    broken: int
    retransmits: int


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long exchanges took, in seconds; `long` is how many took more than PAUSE."""

    exchanges: int
    median: float
    p99: float
    p999: float
    longest: float
    long: int


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Questions and answers over one connection, while the met service was flipped and while the other was."""

    with_flips: Pauses
    without: Pauses
    flips: int
    flips_of_other: int
    broken: int


@dataclass(frozen=True, slots=True)
class Clients:
    """Both kinds of clients, each in a run of its own; `dropped` is what the met service dropped in both."""

    seconds: float
    transfer: Transfer
    exchanges: Exchanges
    dropped: int

    def bounds(self) -> tuple[Bound, ...]:
        """What must hold."""
        transfer, exchanges = self.transfer, self.exchanges
        return (
            exactly("connections lost", transfer.broken + exchanges.broken),
            exactly("packets dropped by the service", self.dropped),
            Bound("TCP transfer with flips, without", _gigabits(transfer.with_flips, transfer.without)),
            at_most("  throughput that flips cost", transfer.lost, MOST_LOST, "{:.1%}"),
            Bound("  segments sent again, all in all", f"{transfer.retransmits:,}"),
            *_flips_made(transfer, self.seconds),
            Bound("exchanges with flips, without", f"{exchanges.with_flips.exchanges:,}, {exchanges.without.exchanges:,}"),
            Bound("  median", _milliseconds(exchanges.with_flips.median, exchanges.without.median)),
            Bound("  p99", _milliseconds(exchanges.with_flips.p99, exchanges.without.p99)),
            Bound("  p99.9", _milliseconds(exchanges.with_flips.p999, exchanges.without.p999)),
            Bound("  longest", _milliseconds(exchanges.with_flips.longest, exchanges.without.longest)),
            at_most(f"  above {PAUSE * 1e3:.0f} ms, with flips and without", exchanges.with_flips.long, exchanges.without.long),
            *_flips_made(exchanges, self.seconds),
        )


def _flips_made(run: Transfer | Exchanges, seconds: float) -> tuple[Bound, ...]:
    """Both services were flipped about as often: else the work was not the same."""
    return (
        Bound("  flips of the service, of the other", f"{run.flips:,}, {run.flips_of_other:,}"),
        at_least("  flips a second", run.flips / seconds, 0.9 * RATE, "{:.1f}"),
    )


def _gigabits(*rates: float) -> str:
    return ", ".join(f"{rate / 1e9:.2f}" for rate in rates) + " Gbit/s"


def _milliseconds(*times: float) -> str:
    return ", ".join(f"{each * 1e3:.3f}" for each in times) + " ms"


def clients_table(bounds: Sequence[Bound]) -> Table:
    """All of it for people."""
    caption = (
        f"one process flips, {RATE:.0f} times a second; every {_SEGMENT:.0f} s it changes from the service that the packets meet to"
        " one that none meets, and back: with flips and without. exchanges of 32 bytes over TCP"
    )
    return bounds_table("Real clients while versions are flipped", bounds, caption)


def measure_clients(seconds: float = SECONDS, progress: Callable[[str], object] = lambda doing: None) -> Clients:
    """Flips the met service for so long in each of two runs, and the other as long. RuntimeProblem, OSError, RuntimeError."""
    with _two_services() as (client, server, services):
        before = _dropped(services[_MET])
        progress("a TCP transfer")
        transfer = _transfer(client, server, services, seconds)
        progress("exchanges")
        exchanges = _exchanges(client, server, services, seconds)
        dropped = _dropped(services[_MET]) - before
    return Clients(seconds, transfer, exchanges, dropped)


@contextmanager
def _two_services() -> Iterator[tuple[Namespace, Namespace, tuple[str, str]]]:
    """A client and a server with a service between them, and the same service where no packet comes; both have two generations."""
    versions = version(1), version(2)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        client, server, lonely = (lab.namespace(role) for role in ("client", "server", "lonely"))
        lab.veth(client, "eth0", server, "eth0")
        lab.veth(lonely, "eth0", lonely, "eth1")
        for namespace, address in ((client, _CLIENT), (server, _SERVER)):
            namespace.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        names = f"soak-{os.getpid()}-met", f"soak-{os.getpid()}-other"
        for name, namespace in zip(names, (server, lonely), strict=True):
            stack.enter_context(loaded(versions[0], name, namespace))
            operations.swap(name, versions[1])
        yield client, server, names


def _dropped(name: str) -> int:
    (chain,) = operations.statistics(name).chains
    return chain.dropped


class _Flipping:
    """A process that flips both services in turns, from `began` on."""

    def __init__(self, services: tuple[str, str], seconds: float) -> None:
        self.began = time.perf_counter() + _LEAD
        self.seconds = 2 * seconds
        options = {"began": self.began, "segment": _SEGMENT, "seconds": self.seconds, "rate": RATE}
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = _start([sys.executable, "-m", "soak.flipper", *services, *given])

    def segment(self, moment: float) -> int | None:
        """The segment of a moment: the met service's turn in even ones. None before, behind, and where one has just begun."""
        since = moment - self.began
        if not 0 <= since < self.seconds or since % _SEGMENT < _SAMPLE:
            return None
        return segment_of(moment, self.began, _SEGMENT)

    def written(self) -> list[list[float]]:
        """When each service's entry was written; waits for the end."""
        return [list(each) for each in json.loads(_output(self._process))]


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    """Starts a process that others on the machine do not hold up, as far as the kernel shares it out by session."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=Path(__file__).parents[1]
    )
    with suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text("-20")
    return process


def _output(process: subprocess.Popen[str]) -> str:
    """What a process wrote, once it has ended. RuntimeError, with its words, where it failed."""
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"`{' '.join(map(str, process.args))}` failed: {err.strip() or out.strip()}")  # type: ignore[arg-type]
    return out


@contextmanager
def _served(namespace: Namespace, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A server that is ready, ended behind the block if it has not ended by itself."""
    process = _start(namespace.command(*command))
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"`{' '.join(command)}` does not run: {process.communicate()[1].strip()}")
        yield process
    finally:
        process.terminate()
        process.communicate()


# ---- a transfer


def _transfer(client: Namespace, server: Namespace, services: tuple[str, str], seconds: float) -> Transfer:
    with _served(server, "iperf3", "-s", "-1", "-B", _SERVER, "--forceflush") as serving:
        flipping = _Flipping(services, seconds)
        length = str(round(2 * seconds + 2 * _LEAD))
        sending = _start(client.command("iperf3", "-c", _SERVER, "-t", length, "-J"))
        received = Path(f"/proc/{serving.pid}/net/dev")
        rates: dict[int, list[float]] = {}
        while (now := time.perf_counter()) < flipping.began + flipping.seconds:
            before = _received_bytes(received)
            time.sleep(_SAMPLE)
            after = time.perf_counter()
            segment = flipping.segment(now)
            if segment is not None and flipping.segment(after) == segment:
                rates.setdefault(segment, []).append(8 * (_received_bytes(received) - before) / (after - now))
        written = flipping.written()
        out, _ = sending.communicate()
    means = {segment: fmean(each) for segment, each in rates.items()}
    pairs = [1 - mean / means[segment + 1] for segment, mean in means.items() if segment % 2 == _MET and segment + 1 in means]
    found = json.loads(out or "{}")
    broken = int(sending.returncode != 0 or "error" in found)
    return Transfer(
        with_flips=median(mean for segment, mean in means.items() if segment % 2 == _MET),
        without=median(mean for segment, mean in means.items() if segment % 2 == _OTHER),
        lost=median(pairs),
        pairs=len(pairs),
        flips=len(written[_MET]),
        flips_of_other=len(written[_OTHER]),
        broken=broken,
        retransmits=0 if broken else found["end"]["sum_sent"]["retransmits"],
    )


def _received_bytes(file: Path) -> int:
    """What eth0 has received, by a process's /proc/PID/net/dev."""
    (line,) = (line for line in file.read_text().splitlines() if line.strip().startswith("eth0:"))
    return int(line.partition(":")[2].split()[0])


# ---- exchanges


def _exchanges(client: Namespace, server: Namespace, services: tuple[str, str], seconds: float) -> Exchanges:
    exchange = (sys.executable, "-m", "soak.exchange")
    with tempfile.TemporaryDirectory(prefix="pcnc-soak-") as folder, _served(server, *exchange, "serve", _SERVER, str(_PORT)):
        into = Path(folder, "exchanges")
        flipping = _Flipping(services, seconds)
        length = str(2 * seconds + 2 * _LEAD)
        asking = _start(client.command(*exchange, "ask", _SERVER, str(_PORT), "--seconds", length, "--into", str(into)))
        written = flipping.written()
        asking.communicate()
        found = array("d", into.read_bytes() if asking.returncode == 0 else b"")
    took: tuple[list[float], list[float]] = ([], [])
    for began, length_of_one in zip(found[::2], found[1::2], strict=True):
        segment = flipping.segment(began)
        if segment is not None:
            took[segment % 2].append(length_of_one)
    return Exchanges(
        _pauses(took[_MET]), _pauses(took[_OTHER]), len(written[_MET]), len(written[_OTHER]), int(asking.returncode != 0)
    )


def _pauses(took: Sequence[float]) -> Pauses:
    if not took:
        return Pauses(0, 0.0, 0.0, 0.0, 0.0, 0)
    return Pauses(
        exchanges=len(took),
        median=median(took),
        p99=percentile(took, 99),
        p999=percentile(took, 99.9),
        longest=max(took),
        long=sum(each > PAUSE for each in took),
    )
