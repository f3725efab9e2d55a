"""The main job from end to end, on real packets: a firewall between a client and a server that never stop talking.

Run it as root with `make demo`. It makes two network namespaces joined by a veth pair, and removes them again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table as Grid

from bench.lab import Lab
from bench.rig import measure
from examples.conversation import Client, Server
from pcnc.checksums import internet_checksum
from pcnc.cli.compile_service import read_service
from pcnc.cli.test import kernel_target
from pcnc.draw_svg import draw_svg_pair
from pcnc.draw_text import draw_text
from pcnc.picture import Picture
from pcnc.rule_reader import read_rules
from pcnc.source import Source
from pcnc_runtime.trial import Trial

ROOT = Path(__file__).parent.parent
FIREWALL = ROOT / "examples" / "firewall.pcn"
PICTURES = ROOT / "out"
SERVER, CLIENT, STRANGER = "10.77.0.1", "10.77.0.2", "10.77.0.66"
NAME = f"demo{os.getpid()}"
SOURCES = (f"{STRANGER}/32 -> drop", "198.51.100.0/24 -> drop")
DESTINATIONS = ("203.0.113.0/24 -> drop",)


@dataclass
class Version:
    """A version of the running firewall, and what happened while it was put in force."""

    title: str
    rules: Mapping[str, tuple[str, ...]]
    parses: str = ""
    stages: str = ""
    seconds: float = 0
    meanwhile: int = 0
    picture: Picture | None = field(default=None, repr=False)


class Demo:
    """The namespaces, the talkers and the console."""

    def __init__(self, lab: Lab) -> None:
        self.console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 112)
        self.server_side = lab.namespace("server")
        self.client_side = lab.namespace("client")
        lab.veth(self.server_side, "srv0", self.client_side, "cli0")
        self.server_side.run("ip", "address", "add", f"{SERVER}/24", "dev", "srv0")
        for address in (CLIENT, STRANGER):
            self.client_side.run("ip", "address", "add", f"{address}/24", "dev", "cli0")
        self.versions: list[Version] = []

    def pcnc(self, *arguments: str, quiet: bool = False) -> str:
        """Runs the command on the server's side, as an operator would, and shows it with what it prints."""
        if not quiet:
            self.console.print(f"\n[bold]$ pcnc {' '.join(_quoted(argument) for argument in arguments)}[/bold]")
        command = self.server_side.command(sys.executable, "-m", "pcnc.cli", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            raise SystemExit(f"pcnc {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        if not quiet:
            print(done.stdout, end="", flush=True)
        return done.stdout

    def change(self, client: Client, title: str, rules: Mapping[str, tuple[str, ...]], *arguments: str) -> None:
        """Makes a change while the client talks, and notes what it was and what it cost."""
        before = client.sent
        answer = json.loads(self.pcnc(*arguments, "--json", quiet=True))
        self.console.print(f"\n[bold]$ pcnc {' '.join(_quoted(argument) for argument in arguments)}[/bold]")
        version = Version(title, rules, seconds=answer["in_force"], meanwhile=client.sent - before)
        self.console.print(f"in force after {version.seconds * 1000:.1f} ms; {version.meanwhile} questions were asked meanwhile")
        version.parses, version.stages, version.picture = self.look()
        self.console.out(draw_text(version.picture, self.console.width, self.console.is_terminal))
        self.versions.append(version)

    def look(self) -> tuple[str, str, Picture]:
        """What the running version parses, its stages, and its picture."""
        from pcnc.cli.show import pictures_of_service
        from pcnc_runtime.operations import describe

        facts = describe(NAME)
        chain = facts.chains[0]
        stages = ", ".join(block.plan.name for block in chain.blocks if block.plan.kind not in ("parser", "end"))
        return ", ".join(chain.plan.parses) or "nothing", stages or "none", pictures_of_service(facts)[0]

    def wait(self, seconds: float) -> None:
        """Lets them talk."""
        time.sleep(seconds)


def _quoted(argument: str) -> str:
    return f"'{argument}'" if " " in argument else argument.removeprefix(f"{ROOT}/")


def run(demo: Demo) -> int:
    """Tells the story; returns the exit status: 0 where nothing was lost."""
    say = demo.console.print
    server = Server(demo.server_side, SERVER)
    try:
        with Client(demo.client_side, CLIENT, SERVER) as client, Client(demo.client_side, STRANGER, SERVER) as stranger:
            say(f"A client ({CLIENT}) and a stranger ({STRANGER}) talk to a server ({SERVER}) across a veth pair.")
            demo.wait(0.5)
            demo.change(client, "no rules", {}, "load", str(FIREWALL), "--name", NAME, "--dev", "srv0")
            demo.wait(0.5)
            demo.change(client, "sources", {"sources": SOURCES}, "rules", NAME, "sources", "add", *SOURCES)
            unanswered = stranger.sent - stranger.answered
            demo.wait(0.5)
            say(
                f"\nThe stranger asks, and asks: {stranger.sent - stranger.answered - unanswered} more questions without an answer."
            )
            both = {"sources": SOURCES, "destinations": DESTINATIONS}
            demo.change(client, "both tables", both, "rules", NAME, "destinations", "add", *DESTINATIONS)
            demo.wait(0.5)
            demo.change(client, "sources again", {"sources": SOURCES}, "rules", NAME, "destinations", "delete", "--all")
            demo.wait(0.5)
            demo.pcnc("stats", NAME)
            lost = client.hush()
            stranger.hush()
            say()
            compare(demo)
            draw(demo)
            say(
                f"\nThe client asked {client.sent} questions through {len(demo.versions)} versions of the firewall: "
                f"[bold]{lost} lost[/bold]. The stranger asked {stranger.sent} and had {stranger.answered} answers, "
                "all from before the rule."
            )
            return 1 if lost else 0
    finally:
        server.close()
        demo.pcnc("unload", NAME, quiet=True)


def compare(demo: Demo) -> None:
    """The versions side by side: what each parses, how it came into force, what it costs a packet."""
    costs = measure_versions(demo.versions)
    grid = Grid(title="The versions of the firewall; ns a packet are above an empty program")
    for title in ("version", "stages", "parses"):
        grid.add_column(title, no_wrap=True)
    for title in ("in force after", "asked meanwhile", "ns a packet"):
        grid.add_column(title, justify="right")
    for version in demo.versions:
        milliseconds = f"{version.seconds * 1000:.1f} ms"
        cost = f"{costs[version.title]:.1f}"
        grid.add_row(version.title, version.stages, version.parses, milliseconds, str(version.meanwhile), cost)
    demo.console.print(grid)


def measure_versions(versions: list[Version]) -> dict[str, float]:
    """Each version loaded once more, attached to nothing, and run on 4,096 packets in rotation beside an empty program."""
    random = Random(7)
    packets = [_packet(random) for _ in range(4096)]
    with ExitStack() as stack:
        entries = {version.title: stack.enter_context(_trial(version.rules)).entry("ingress") for version in versions}
        return measure(entries, packets)


def _trial(rules: Mapping[str, tuple[str, ...]]) -> Trial:
    chosen = read_service(str(FIREWALL), None)
    trial = kernel_target(chosen.program, chosen.service, "xdp")
    for schema in chosen.service.schemas:
        trial.set_rules(schema.name, read_rules(Source("rules", "\n".join(rules.get(schema.name, ()))), schema)[0])
    return trial


def _packet(random: Random) -> bytes:
    addresses = random.randbytes(8)
    head = bytes.fromhex("45000032000040004011") + b"\0\0" + addresses
    head = head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:]
    return bytes.fromhex("020000000001020000000002 0800") + head + bytes.fromhex("04d20007001e0000") + bytes(22)


def draw(demo: Demo) -> None:
    """The pictures, before and after, as SVG."""
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / "firewall.svg"
    before, after = demo.versions[2].picture, demo.versions[3].picture
    assert before is not None
    assert after is not None
    path.write_text(draw_svg_pair(before, after))
    demo.console.print(f"\nThe pipeline with rules in both tables, and in `sources` alone: {path.relative_to(ROOT)}")


def main() -> int:
    """Runs the demo; its exit status."""
    if os.geteuid():
        print("the demo loads programs into the kernel: run it as root", file=sys.stderr)
        return 1
    with Lab() as lab:
        return run(Demo(lab))


if __name__ == "__main__":
    raise SystemExit(main())
