"""`pcnc swap`, `rollback` and `set`: another version in place of the running one, the one before again, other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pcnc.cli.changes import report_change, told_if_interrupted
from pcnc.cli.options import AsJson, NameArgument, ServiceOption, ToolchainOption, Verbose, VersionArgument
from pcnc.cli.progress import working
from pcnc.cli.report import PROBLEM, guarded, print_json, report_problem

if TYPE_CHECKING:
    from pcnc_runtime.compare_versions import Comparison

DiscardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--discard",
        metavar="TABLE|SETTING",
        help="What the new version cannot hold of it may be lost (`all`: of everything); can be given several times.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(short_help="Put another version in place.")(swap)
    app.command(short_help="Return to the generation before.")(rollback)
    app.command("set", short_help="Give settings other values.")(set_settings)


@guarded
def swap(
    name: NameArgument,
    version: VersionArgument,
    discard: DiscardOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, tell what would change, and change nothing.")
    ] = False,
    service: ServiceOption = None,
    toolchain: ToolchainOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Put another version of a service in place of the running one; no packet is lost, and no packet meets both."""
    from pcnc.cli.compile_service import recompile
    from pcnc.cli.versions import open_version
    from pcnc_runtime import operations

    with told_if_interrupted(name):
        running = operations.describe(name)
        opened = open_version(version, service, running.hook, running.service, toolchain)
        again = recompile if opened.source else None
        if dry_run:
            with working(f"comparing {name} with {version}"):
                comparison = operations.preview_swap(
                    name, opened.build(), label=version, source=opened.source, recompile=again, discard=discard or ()
                )
            _report_preview(comparison, as_json)
            return
        with working(f"swapping {name}"):
            change = operations.swap(name, opened.build(), source=opened.source, recompile=again, discard=discard or ())
        report_change(change, as_json)


def _report_preview(comparison: Comparison, as_json: bool) -> None:
    """Tells what a swap would do; what would be refused is a problem."""
    from pcnc.cli.report_comparison import comparison_to_json, tell_comparison
    from pcnc_runtime.discards import refuse

    if as_json:
        print_json(comparison_to_json(comparison))
    else:
        tell_comparison(comparison)
    if not comparison.refused:
        if not as_json:
            print("this can be done; nothing was changed")
        return
    if not as_json:
        report_problem(refuse(comparison.refused), as_json)
    raise typer.Exit(PROBLEM)


@guarded
def rollback(name: NameArgument, as_json: AsJson = False) -> None:
    """Make the previous generation the live one again; a second time, and the later one is back."""
    from pcnc_runtime import operations

    with told_if_interrupted(name):
        report_change(operations.rollback(name), as_json)


@guarded
def set_settings(
    name: NameArgument,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", help="Settings (`config`) and their values.")],
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Give settings of a loaded service other values, all in one change."""
    from pcnc.cli.compile_service import recompile
    from pcnc.cli.settings import read_settings
    from pcnc_runtime import operations

    with told_if_interrupted(name):
        known = {setting.plan.name: setting.plan.type for setting in operations.read_settings(name)}
        change = operations.set_configs(name, read_settings(values, known), recompile=recompile)
        report_change(change, as_json)
