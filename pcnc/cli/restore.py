"""`pcnc restore` and `pcnc save`: what was loaded when the machine went down, and what is kept for that."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from pcnc.cli.changes import attachment_in_words, change_to_json, tell_change
from pcnc.cli.options import AsJson, Verbose
from pcnc.cli.progress import working
from pcnc.cli.report import PROBLEM, guarded, print_json, problem_to_json, report_problem
from pcnc_runtime.changes import Restored

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="Names of services.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(short_help="Bring back what a reboot took.")(restore)
    app.command(short_help="Write down what was counted.")(save)


@guarded
def restore(
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that was loaded when the machine went down.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for devices that are not there yet.")
    ] = 0,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Bring back what was loaded when the machine went down, and put back what somebody took off its devices."""
    from pcnc_runtime import operations

    chosen = _chosen(names, everything)
    with working("restoring"):
        done = operations.restore(chosen, wait=wait)
    if as_json:
        print_json([_to_json(each) for each in done])
    else:
        for each in done:
            _tell(each, verbose)
        if not done:
            print("there is nothing to restore")
    if any(each.outcome == "failed" for each in done):
        raise typer.Exit(PROBLEM)


@guarded
def save(
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Of everything that is loaded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write down what was counted until now, for `pcnc restore` to go on from; everything else is written down at each change."""
    from pcnc_runtime import operations

    saved = operations.save(_chosen(names, everything))
    if as_json:
        print_json({"saved": list(saved)})
        return
    for name in saved:
        print(f"{name}: counts saved")


def _chosen(names: list[str] | None, everything: bool) -> list[str] | None:
    """The names, None for all."""
    if bool(names) == everything:
        raise typer.BadParameter("give names of services, or --all", param_hint="NAME")
    return list(dict.fromkeys(names)) if names else None


def _tell(restored: Restored, verbose: bool) -> None:
    if restored.problem is not None:
        print(f"{restored.name}: not restored", flush=True)
        report_problem(restored.problem, as_json=False, verbose=verbose)
    elif restored.change is None:
        print(f"{restored.name}: is loaded already")
    elif restored.outcome == "mended":
        print(f"{restored.name}: was loaded, and is on its devices again")
        for attachment in restored.change.attachments:
            print(f"  {attachment_in_words(attachment)}")
        for text in restored.change.warnings:
            print(f"warning: {text}", file=sys.stderr)
    else:
        tell_change(restored.change)


def _to_json(restored: Restored) -> dict[str, Any]:
    return {
        "name": restored.name,
        "outcome": restored.outcome,
        "change": change_to_json(restored.change) if restored.change else None,
        "problem": problem_to_json(restored.problem) if restored.problem else None,
    }
