"""`pcnc stats`: how many packets, and where they ended; once, or again and again with rates."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.options import AsJson, NameArgument
from pcnc.cli.report import guarded, painted, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pcnc_runtime.facts import Statistics
    from pcnc_runtime.statistics import Watcher


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Count packets, and why they ended.")(stats)


@guarded
def stats(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Again and again, with rates, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=3600.0, help="How often.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show how many packets there were and where they ended; with --follow also at what rate."""
    from pcnc_runtime.statistics import Watcher

    with Watcher(name) as watcher:
        now = watcher.read()
        if not follow:
            if as_json:
                print_json(statistics_to_json(now, None))
            else:
                print("\n".join(statistics_lines(now, None)))
            return
        try:
            if as_json:
                _again(watcher, now, interval, lambda now, before: print(json.dumps(statistics_to_json(now, before)), flush=True))
            elif sys.stdout.isatty():
                _live(watcher, now, interval)
            else:
                _again(watcher, now, interval, lambda now, before: print("\n".join(statistics_lines(now, before)), flush=True))
        except KeyboardInterrupt:
            # This is how one ends it.
            return


Tell = Callable[["Statistics", "Statistics"], None]


def _again(watcher: Watcher, before: Statistics, interval: float, tell: Tell) -> None:
    while True:
        time.sleep(interval)
        now = watcher.read()
        tell(now, before)
        before = now


def _live(watcher: Watcher, first: Statistics, interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(_as_table(first, None), console=Console(), auto_refresh=False) as live:
        _again(watcher, first, interval, lambda now, before: live.update(_as_table(now, before), refresh=True))


# ---- for people


def statistics_lines(now: Statistics, before: Statistics | None) -> Iterable[str]:
    """Counts as lines; with what they were before, rates too."""
    yield f"{painted(now.name, '1')}  generation {now.generation}"
    for chain, rows in _rows(now, before):
        yield f"  {chain}"
        for label, count, rate in rows:
            yield f"    {count:>16}{f'{rate:>14}' if before else ''}  {label}"


def _as_table(now: Statistics, before: Statistics | None) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"{now.name} · generation {now.generation}", box=SIMPLE_HEAD, title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("packets", justify="right")
    table.add_column("a second", justify="right")
    for chain, rows in _rows(now, before):
        table.add_row(f"[bold]{chain}[/bold]", "", "")
        for label, count, rate in rows:
            style = "red" if label.startswith("drop") else "green" if label == "next" else ""
            table.add_row(f"  {label}", count, rate, style=style)
    return table


def _rows(now: Statistics, before: Statistics | None) -> Iterable[tuple[str, list[tuple[str, str, str]]]]:
    """For each chain: its head, and rows of label, count and rate. A reason that never came is left out."""
    seconds = now.at - before.at if before is not None else 0.0

    def rate(count: int, then: int) -> str:
        return f"{(count - then) / seconds:,.0f}/s" if seconds > 0 else ""

    for chain in now.chains:
        old = next((each for each in before.chains if each.chain == chain.chain), None) if before is not None else None
        old_reasons = dict(old.reasons) if old is not None else {}
        rows = [("packets", f"{chain.packets:,}", rate(chain.packets, old.packets if old else 0))]
        rows += [(reason, f"{count:,}", rate(count, old_reasons.get(reason, 0))) for reason, count in chain.reasons if count]
        yield chain.chain, rows


# ---- for programs


def statistics_to_json(now: Statistics, before: Statistics | None) -> dict[str, Any]:
    """Counts for programs. `interval` (seconds) and `rate` (packets a second) are null where nothing was read before."""
    seconds = now.at - before.at if before is not None else None
    chains = []
    for chain in now.chains:
        old = next((each for each in before.chains if each.chain == chain.chain), None) if before is not None else None
        rate = (chain.packets - old.packets) / seconds if old is not None and seconds else None
        chains.append(
            {
                "chain": chain.chain,
                "packets": chain.packets,
                "dropped": chain.dropped,
                "reasons": dict(chain.reasons),
                "rate": rate,
            }
        )
    tables = [
        {
            "table": table.table,
            "rules": [{"id": id, "packets": count.packets, "bytes": count.bytes} for id, count in table.rules],
            "default": {"packets": table.default.packets, "bytes": table.default.bytes},
        }
        for table in now.tables
    ]
    return {"name": now.name, "generation": now.generation, "at": now.at, "interval": seconds, "chains": chains, "tables": tables}
