"""`pcnc run`: the reference interpreter on the packets of a capture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from pcnc.cli.captures import new_capture, open_capture
from pcnc.cli.compile_service import read_service
from pcnc.cli.options import AsJson, ServiceOption, SettingsOption, SourceArgument
from pcnc.cli.progress import progressing
from pcnc.cli.report import guarded, print_json
from pcnc.cli.settings import read_settings
from pcnc.program_words import ChainName
from pcnc_runtime.errors import RuntimeProblem


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Run the packets of a capture.")(run)


@guarded
def run(
    file: SourceArgument,
    capture: Annotated[Path, typer.Option("--pcap", metavar="IN", help="The packets: a pcap or pcapng file of Ethernet frames.")],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="The packets that go on, as a pcap file.")],
    chain: Annotated[ChainName, typer.Option("--chain", help="The chain that they take.")] = "ingress",
    settings: SettingsOption = None,
    service: ServiceOption = None,
    as_json: AsJson = False,
) -> None:
    """Run the packets of a capture through a service on the reference interpreter; needs no privilege and no kernel."""
    from pcnc.interpret import Interpreter

    chosen = read_service(file, service)
    program, running = chosen.program, chosen.service
    if chain not in (each.name for each in running.chains):
        has = ", ".join(f"`{each.name}`" for each in running.chains)
        raise RuntimeProblem("no-such-chain", f"service {running.name} has no chain `{chain}`", f"it has {has}: --chain")
    values = read_settings(settings, {config.name: config.type for config in running.configs})
    interpreter = Interpreter(program, running, {table.name: table.rules for table in running.tables}, values)
    reasons: Counter[str] = Counter()
    perhaps_cut = 0
    with (
        open_capture(capture) as packets,
        progressing(f"running {running.name}", capture.stat().st_size) as so_far,
        new_capture(out) as write,
    ):
        for time, frame in packets:
            outcome = interpreter.run(chain, frame)
            reasons[outcome.reason] += 1
            perhaps_cut += 0 < packets.snap_length == len(frame)
            if outcome.verdict != "drop":
                write(outcome.frame, time)
            so_far(packets.position)
    total = reasons.total()
    gone = sum(count for reason, count in reasons.items() if reason.startswith("drop"))
    if as_json:
        print_json(
            {
                "service": running.name,
                "chain": chain,
                "packets": total,
                "dropped": gone,
                "reasons": dict(reasons.most_common()),
                "perhaps_cut": perhaps_cut,
                "out": str(out),
            }
        )
        return
    print(f"{capture}: {_packets(total)} through {running.name} {chain}: {total - gone:,} on to {out}, {gone:,} dropped")
    width = max((len(f"{count:,}") for count in reasons.values()), default=0)
    for reason, count in reasons.most_common():
        print(f"  {count:>{width},}  {reason}")
    if perhaps_cut:
        print(f"{_packets(perhaps_cut)} as long as the capture's snap length ({packets.snap_length} bytes): cut, perhaps")


def _packets(number: int) -> str:
    return f"{number:,} packet{'' if number == 1 else 's'}"
