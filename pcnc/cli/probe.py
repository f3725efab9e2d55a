"""`pcnc probe`: what this kernel, and this user, may do."""

from __future__ import annotations

import typer

from pcnc.cli.options import AsJson
from pcnc.cli.report import PROBLEM, guarded, painted, print_json


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Try what loading and attaching need.")(probe)


@guarded
def probe(as_json: AsJson = False) -> None:
    """Try what loading and attaching need, each for real; exit with 1 if anything does not work."""
    from pcnc_runtime.probe import probe as try_features
    from pcnc_runtime.probe import probe_attaching

    facts = (*try_features(), *probe_attaching())
    if as_json:
        print_json(
            [{"feature": fact.feature, "works": fact.works, "errno": fact.errno, "reason": fact.reason} for fact in facts],
        )
    else:
        width = max(len(fact.feature) for fact in facts)
        for fact in facts:
            mark = painted("✓", "1;32") if fact.works else painted("✗", "1;31")
            print(f"{mark} {fact.feature:<{width}}  {fact.reason}".rstrip())
    if not all(fact.works for fact in facts):
        raise typer.Exit(PROBLEM)
