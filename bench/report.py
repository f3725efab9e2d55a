"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.classify import Classified
from bench.commands import Timed
from bench.flips import PHASES, Flipped
from bench.swaps import Swapped
from bench.toolchains import Compiled


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. `load` is how many processes ran or wanted to, over the last minute, before anything began."""

    kernel: str
    processor: str
    cpus: int
    python: str
    load: float


def this_machine() -> Machine:
    """This one."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpus = len(os.sched_getaffinity(0))
    return Machine(
        platform.release(), models[0] if models else platform.machine(), cpus, platform.python_version(), os.getloadavg()[0]
    )


def machine_in_words(machine: Machine) -> str:
    """One line for people; whether others were at work there decides what the figures are worth."""
    words = f"Linux {machine.kernel}, {machine.cpus} CPUs ({machine.processor}), Python {machine.python}"
    busy = f"; load {machine.load:.1f} before the start: others are at work, and the figures are too high"
    return words + (busy if machine.load > machine.cpus / 2 else "")


def to_json(value: Any) -> Any:
    """Results as dicts and lists."""
    return [asdict(each) for each in value] if isinstance(value, list) else asdict(value)


# ---- tables


def classify_table(rows: Sequence[Classified]) -> Table:
    """The cost of a packet, beside the hand-written programs."""
    caption = (
        "one packet: no rule meets it; 65,536: half are met by a rule of each table. compiled: the entry's jump included; its keys"
        " have 64 bits, a word of presence before the address, the hand-written ones 32. not pruned: both tables are looked up"
    )
    table = Table(
        title="What a packet costs: ns above an empty program", title_justify="left", caption=caption, caption_justify="left"
    )
    table.add_column("rules in\nsources", justify="right")
    table.add_column("rules in\ndestinations", justify="right")
    table.add_column("different\npackets", justify="right")
    table.add_column("compiled :\nhand-written", justify="right", style="bold")
    table.add_column("compiled", justify="right")
    table.add_column("hand-written", justify="right")
    table.add_column("compiled,\nnot pruned", justify="right")
    table.add_column("hand-written,\nnot pruned", justify="right")
    for row in rows:
        costs = (f"{cost:.1f}" for cost in (row.compiled, row.twin, row.unpruned, row.whole_twin))
        sizes = (f"{count:,}" for count in (row.sources, row.destinations, row.packets))
        table.add_row(*sizes, f"{row.compiled / row.twin:.2f}" if row.twin > 0 else "", *costs)
    return table


def commands_table(rows: Sequence[Timed]) -> Table:
    """How long commands take, beside what they may."""
    caption = f"medians of {rows[0].runs} runs in turn after one to warm up; CPU time is that of all processes of a command"
    table = Table(
        title="What a person waits for: whole commands, in ms", title_justify="left", caption=caption, caption_justify="left"
    )
    table.add_column("pcnc …")
    table.add_column("of what it\nmay take", justify="right", style="bold")
    table.add_column("median", justify="right")
    table.add_column("may take", justify="right")
    table.add_column("least", justify="right")
    table.add_column("CPU time", justify="right")
    for row in rows:
        share = f"{row.wall / row.bound:.0%}" if row.bound else ""
        times = (f"{seconds * 1e3:.0f}" if seconds else "" for seconds in (row.wall, row.bound, row.least, row.cpu))
        table.add_row(row.what, share, *times)
    return table


def toolchains_table(rows: Sequence[Compiled]) -> Table:
    """What compiling takes by each toolchain, one beside the other."""
    versions = dict.fromkeys(f"{row.toolchain}: {row.version}" for row in rows)
    caption = f"{'; '.join(versions)}; medians of {rows[0].runs} runs in turn, nothing cached"
    table = Table(title="What compiling takes", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("compiled\nat once", no_wrap=True)
    table.add_column("objects", justify="right")
    names = list(dict.fromkeys(row.toolchain for row in rows))
    for what in ("time,\nms", "CPU time,\nms", "largest\nprocess,\nMiB", "instruc-\ntions"):
        for name in names:
            table.add_column(f"{name}:\n{what}", justify="right")
    for compiled in dict.fromkeys(row.what for row in rows):
        each = [next(row for row in rows if (row.what, row.toolchain) == (compiled, name)) for name in names]
        times = [f"{row.seconds * 1e3:,.0f}" for row in each] + [f"{row.cpu * 1e3:,.0f}" for row in each]
        sizes = [f"{row.memory / 1024:.0f}" for row in each] + [f"{row.instructions:,}" for row in each]
        table.add_row(compiled, str(each[0].objects), *times, *sizes)
    return table


def swaps_table(result: Swapped) -> Table:
    """What became of the packets during swaps."""
    table = Table(
        title=f"{result.sent:,} packets through veth during {result.swaps:,} swaps", title_justify="left", show_header=False
    )
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column()
    for what, figure, note in (
        ("lost", f"{result.lost:,}", ""),
        ("wrong verdicts", f"{result.wrong:,}", ""),
        ("arrived", f"{result.arrived:,}", "the flow that both versions let by"),
        ("dropped", f"{result.dropped:,}", "the flow that both versions drop"),
        ("ring overruns", f"{result.overruns:,}", "refused by the device before any program saw them"),
        ("packets a second", f"{result.rate:,.0f}", f"{result.rate / result.lossless_rate:.0%} of the highest rate without loss"),
        ("swaps a second", f"{result.swaps / result.seconds:.1f}", "one after another"),
        ("until in force", f"{result.in_force_median * 1e3:.1f} ms", f"p99 {result.in_force_p99 * 1e3:.1f} ms"),
        ("the write itself", f"{result.flip_median * 1e6:.0f} µs", f"p99 {result.flip_p99 * 1e6:.0f} µs"),
    ):
        table.add_row(what, figure, note)
    return table


def effects_table(rows: Sequence[Flipped]) -> Table:
    """From a call to the first packet that the new version treats, and what that time consists of."""
    caption = (
        "medians. rule: read from text, checked, a generation built and put into force; code for such rules is there. version:"
        " the rules stand in its source; clang runs for what is new. rest: the lock, the rules, the records on the disk"
    )
    table = Table(title="From a change to its effect", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    table.add_column("rules", justify="right")
    table.add_column("to effect\nms", justify="right", style="bold")
    for name in (*PHASES, "rest"):
        table.add_column(f"{name}\n%", justify="right")
    for row in rows:
        if row.rules:
            parts = [row.phases[name] for name in PHASES]
            shares = [f"{100 * part / row.effect:.1f}" if part else "" for part in (*parts, max(0.0, row.effect - sum(parts)))]
            table.add_row(row.what, f"{row.rules:,}", f"{row.effect * 1e3:.1f}", *shares)
    return table


def flips_table(rows: Sequence[Flipped]) -> Table:
    """The one write that puts a version into force, beside the replacement of a program through its link."""
    caption = (
        "from the beginning of the write to the last packet that the old version treated, and to the first of the new one, as"
        " an observer behind the verdict sees them; and until the call returns. 1,000,000 packets a second; told: runs in which"
        " their generator did not pause just then"
    )
    table = Table(title="The flip itself, in µs", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    table.add_column("rules", justify="right")
    table.add_column("runs\n(told)", justify="right")
    table.add_column("last old\nmedian", justify="right", style="bold")
    table.add_column("last old\np99", justify="right")
    table.add_column("first new\nmedian", justify="right")
    table.add_column("call\nmedian", justify="right")
    table.add_column("call\np99", justify="right")
    for row in rows:
        times = (f"{seconds * 1e6:,.0f}" for seconds in (row.last, row.last_p99, row.first, row.write, row.write_p99))
        table.add_row(row.what, f"{row.rules:,}" if row.rules else "", f"{row.runs} ({row.told})", *times)
    return table
