"""`pcnc load` and `pcnc unload`: onto devices and off them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pcnc.cli.changes import attachment_in_words, attachment_to_json, report_change, told_if_interrupted
from pcnc.cli.options import AsJson, NameArgument, ServiceOption, SettingsOption, ToolchainOption, Verbose, VersionArgument
from pcnc.cli.progress import working
from pcnc.cli.report import guarded, print_json
from pcnc.manifest import Hook


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(short_help="Load a service onto devices.")(load)
    app.command(short_help="Take a service off, and all of it.")(unload)


@guarded
def load(
    version: VersionArgument,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the loaded service is called from now on.")],
    devices: Annotated[list[str], typer.Option("--dev", metavar="DEVICE", help="A device to sit on; can be given several times.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="DEVICE", help="More devices, behind `--dev`.", hidden=True)] = None,
    hook: Annotated[Hook | None, typer.Option("--hook", help="Where packets of chain ingress are taken; xdp for a source.")] = None,
    mode: Annotated[
        Literal["native", "generic"] | None, typer.Option("--mode", help="How XDP runs; without it native is tried, then generic.")
    ] = None,
    settings: SettingsOption = None,
    service: ServiceOption = None,
    toolchain: ToolchainOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Load a service and attach it to devices; it stays when the command ends, until it is unloaded."""
    from pcnc.cli.compile_service import recompile
    from pcnc.cli.settings import read_settings
    from pcnc.cli.versions import open_version
    from pcnc_runtime import operations
    from pcnc_runtime.attach import XdpMode

    with told_if_interrupted(name):
        opened = open_version(version, service, hook, toolchain=toolchain)
        values = read_settings(settings, opened.settings)
        with working(f"loading {name}"):
            change = operations.load(
                opened.build(),
                name,
                [*devices, *(more or ())],
                mode=XdpMode(mode) if mode else None,
                settings=values,
                source=opened.source,
                recompile=recompile if opened.source else None,
            )
        report_change(change, as_json)


@guarded
def unload(name: NameArgument, as_json: AsJson = False) -> None:
    """Take a service off its devices and remove everything of it."""
    from pcnc_runtime import operations

    with told_if_interrupted(name):
        attachments = operations.unload(name)
        if as_json:
            print_json({"name": name, "attachments": [attachment_to_json(attachment) for attachment in attachments]})
            return
        print(f"{name}: unloaded")
        for attachment in attachments:
            print(f"  {attachment_in_words(attachment)}")
