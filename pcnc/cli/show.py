"""`pcnc show`: what is loaded: devices, the pipeline as it runs, programs, tables with their rules, settings, counts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.changes import attachment_in_words, attachment_to_json
from pcnc.cli.clock import at
from pcnc.cli.compile_service import IN_WORDS
from pcnc.cli.list_rules import table_lines, table_to_json
from pcnc.cli.not_loaded import not_loaded_to_json, tell_not_loaded
from pcnc.cli.options import AsJson
from pcnc.cli.report import guarded, in_colour, painted, print_json
from pcnc.cli.stats import statistics_lines, statistics_to_json

if TYPE_CHECKING:
    from pcnc.picture import Picture
    from pcnc_runtime.facts import BlockFacts, ChainFacts, ServiceFacts

MOST_RULES = 20
"""Rules of a table that are shown to people; `pcnc rules NAME TABLE list` shows all."""


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Show what is loaded, as it runs.")(show)


@guarded
def show(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A loaded service; without it all are listed.")] = None,
    svg: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the pipeline as it runs into an SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is loaded: its devices, the pipeline as it runs now, its programs, rules and counts."""
    from pcnc_runtime import operations

    if name is not None:
        if (saved := operations.describe_saved(name)) is not None:
            if as_json:
                print_json(not_loaded_to_json(saved))
            else:
                tell_not_loaded(saved)
            return
        facts = operations.describe(name)
        if svg is not None:
            from pcnc.draw_svg import draw_svg

            Path(svg).write_text(draw_svg(pictures_of_service(facts)))
        if as_json:
            print_json(service_to_json(facts))
        else:
            _tell(facts)
        return
    if svg is not None:
        raise typer.BadParameter("name the service to draw", param_hint="--svg")
    found = [operations.describe(each) for each in operations.loaded_names()]
    others = operations.list_not_loaded()
    if as_json:
        print_json([*(service_to_json(facts) for facts in found), *map(not_loaded_to_json, others)])
        return
    for facts in found:
        print(_headline(facts))
        _tell_devices(facts)
    if not found:
        print("nothing is loaded")
    for each in others:
        tell_not_loaded(each)


# ---- for people


def _headline(facts: ServiceFacts) -> str:
    rules = sum(len(table.rules) for table in facts.tables)
    packets = sum(chain.packets for chain in facts.statistics.chains)
    return (
        f"{painted(facts.name, '1')}  service {facts.service}, generation {facts.generation} "
        f"({facts.what}, since {at(facts.since)}), {rules:,} rule{'' if rules == 1 else 's'}, {packets:,} packets"
    )


def _tell_devices(facts: ServiceFacts) -> None:
    """The devices, what others have done to them and to the pins, and what mends it."""
    for attachment in facts.attachments:
        print(f"  {attachment_in_words(attachment)}")
    for fault in facts.faults:
        print(f"  {painted(fault, '31')}")
    states = {attachment.state for attachment in facts.attachments}
    if facts.faults or "detached" in states:
        print(f"  pcnc restore {facts.name} mends it")
    elif "gone" in states:
        print(f"  when there is a device of that name again: pcnc restore {facts.name}")
    elif "replaced" in states:
        print(f"  take the other program off, then pcnc restore {facts.name} puts this one back")
    elif "moved" in states:
        print(f"  pcnc unload {facts.name} takes it off there")


def _tell(facts: ServiceFacts) -> None:
    from pcnc.draw_text import draw_text

    print(_headline(facts))
    _tell_devices(facts)
    print(
        f"  from {facts.source}, compiled by pcnc {facts.compiler} with {IN_WORDS[facts.toolchain]}; loaded at {at(facts.loaded)}"
    )
    wider = "" if facts.exact else ", made for more kinds of rules than there are"
    before = f"; the generation before is {facts.previous}" if facts.previous is not None else ""
    print(f"  variant {facts.variant}{wider}{before}")
    for setting in facts.settings:
        print(f"  setting {setting.plan.name} = {setting.text}")
    print()
    width = shutil.get_terminal_size().columns
    print("\n".join(draw_text(picture, width, in_colour(sys.stdout)) for picture in pictures_of_service(facts)))
    for chain in facts.chains:
        print("\n".join(_chain_lines(chain)))
        print()
    for table in facts.tables:
        lines = list(table_lines(table))
        print("\n".join(lines[: MOST_RULES + 2]))
        if len(lines) > MOST_RULES + 2:
            print(f"  … {len(lines) - MOST_RULES - 2:,} more: pcnc rules {facts.name} {table.schema.name} list")
    print("\n".join(statistics_lines(facts.statistics, None)))


def _chain_lines(chain: ChainFacts) -> Iterable[str]:
    plan = chain.plan
    parsed = ", ".join(plan.parses) or "nothing"
    yield f"{painted(plan.chain, '1')}  ({plan.hook})  parses {parsed}; entry jumps to program {chain.entry_program_id or '(none)'}"
    head = ("slot", "block", "program", "id", "instructions", "machine code")
    rows = [head, *(_block_row(block) for block in chain.blocks)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if i in (1, 2) else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  " + "  ".join(cells).rstrip()
        yield painted(line, "2") if number == 0 else line


def _block_row(block: BlockFacts) -> tuple[str, ...]:
    plan = block.plan
    if not block.program_id:
        return str(plan.slot), plan.name, "missing", "", "", ""
    code = f"{block.translated_length // 8:,}", f"{block.jited_length:,} bytes"
    return str(plan.slot), plan.name, block.program_name, str(block.program_id), *code


def pictures_of_service(facts: ServiceFacts) -> list[Picture]:
    """The chains as they run, what the live variant lacks of the widest one marked as pruned."""
    from pcnc.picture_of_plan import picture_of_plan
    from pcnc_runtime.operations import read_variants

    live = read_variants(facts.name)
    rules = {table.schema.name: len(table.rules) for table in facts.tables}
    names = [chain.plan.chain for chain in facts.chains]
    return [
        picture_of_plan(live.manifest, n, live.widest, live.running, rules, _verdicts(facts, n), _traffic(facts)) for n in names
    ]


def _verdicts(facts: ServiceFacts, chain: str) -> Mapping[str, int]:
    """Packets by verdict: a reason begins with its verdict."""
    counts: dict[str, int] = {}
    for statistics in facts.statistics.chains:
        if statistics.chain == chain:
            for reason, count in statistics.reasons:
                verdict = reason.partition(":")[0]
                counts[verdict] = counts.get(verdict, 0) + count
    return counts


def _traffic(facts: ServiceFacts) -> Mapping[str, str]:
    """What went through a table, by the name of its block, which is its own."""
    return {
        table.table: f"{sum(count.packets for _, count in table.rules) + table.default.packets:,} packets"
        for table in facts.statistics.tables
        if table.counts_packets
    }


# ---- for programs


def service_to_json(facts: ServiceFacts) -> dict[str, Any]:
    """Everything about a loaded service; times in seconds since the epoch, lengths in bytes."""
    return {
        "name": facts.name,
        "state": "loaded",
        "service": facts.service,
        "hook": facts.hook,
        "generation": facts.generation,
        "previous": facts.previous,
        "what": facts.what,
        "loaded": facts.loaded,
        "since": facts.since,
        "variant": facts.variant,
        "exact": facts.exact,
        "source": facts.source,
        "source_hash": facts.source_hash,
        "compiler": facts.compiler,
        "toolchain": facts.toolchain,
        "toolchain_version": facts.toolchain_version,
        "attachments": [attachment_to_json(attachment) for attachment in facts.attachments],
        "faults": list(facts.faults),
        "chains": [_chain_to_json(chain) for chain in facts.chains],
        "tables": [table_to_json(table) for table in facts.tables],
        "settings": [
            {"name": setting.plan.name, "type": setting.plan.type.name, "value": setting.value, "text": setting.text}
            for setting in facts.settings
        ],
        "statistics": statistics_to_json(facts.statistics, None),
    }


def _chain_to_json(chain: ChainFacts) -> dict[str, Any]:
    return {
        "chain": chain.plan.chain,
        "hook": chain.plan.hook,
        "entry_program_id": chain.entry_program_id,
        "parses": list(chain.plan.parses),
        "edges": [{"from": edge.origin, "to": edge.target, "label": edge.label} for edge in chain.plan.edges],
        "blocks": [
            {
                "name": block.plan.name,
                "kind": block.plan.kind,
                "slot": block.plan.slot,
                "table": block.plan.table or None,
                "summary": block.plan.summary,
                "source_line": block.plan.source_line,
                "program_id": block.program_id,
                "program_name": block.program_name,
                "translated_length": block.translated_length,
                "jited_length": block.jited_length,
                "verified_instructions": block.verified_instructions,
            }
            for block in chain.blocks
        ],
    }
