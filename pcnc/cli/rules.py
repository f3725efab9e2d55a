"""`pcnc rules NAME TABLE add|delete|replace|list`: the rules of a table of a loaded service.

This is the command that runs again and again beside traffic: it imports nothing that it does not need.
"""

from __future__ import annotations

import typer

from pcnc.cli.change_rules import register_changes
from pcnc.cli.list_rules import register_list
from pcnc.cli.options import NameArgument, TableArgument


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(rules)
    register_changes(group)
    register_list(group)
    app.add_typer(group, name="rules", short_help="Add, delete, replace or list the rules of a table.")


def rules(context: typer.Context, name: NameArgument, table: TableArgument) -> None:
    """Add, delete, replace or list the rules of a table.

    Whatever one command changes comes into force as one: all of it, or, where anything is wrong, none of it.
    """
    context.obj = (name, table)
