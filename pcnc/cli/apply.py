"""`pcnc apply`: the changes in a file, of any number of tables, as one generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pcnc.cli.change_rules import DryRun
from pcnc.cli.changes import change_to_json, report_change, told_if_interrupted
from pcnc.cli.options import AsJson, NameArgument, Verbose
from pcnc.cli.progress import working
from pcnc.cli.read_source import read_rule_file
from pcnc.cli.report import diagnostics_of_edits, guarded, print_json
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.rule_edits import DeleteRule
from pcnc_runtime.errors import RefusedEdits, RuntimeProblem

if TYPE_CHECKING:
    from pcnc.change_reader import Changes
    from pcnc.rule_edits import Edit
    from pcnc.source import Source


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Change the rules of several tables at once, as a file says.")(apply)


@guarded
def apply(
    name: NameArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of changes; - is standard input.", show_default=False)],
    dry_run: DryRun = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Change the rules of any number of tables, as a file says: all of it in one generation, or nothing.

    A packet meets the rules before all of the changes, or those after all of them.
    """
    from pcnc.change_reader import read_changes
    from pcnc.cli.compile_service import recompile
    from pcnc_runtime import operations

    with told_if_interrupted(name):
        source = read_rule_file(file)
        schemas = operations.read_schemas(name)
        with working("reading changes"):
            read = read_changes(source, schemas)
        if read.problems:
            raise CompileError(tuple(_in_order([*read.problems, *_others(name, read)], read)))
        if not read.edits:
            _tell_empty(name, source, as_json)
            return
        with working(f"changing {name}"):
            try:
                made = operations.change_rules(name, read.edits, recompile=recompile, dry_run=dry_run)
            except RefusedEdits as refused:
                raise CompileError(tuple(_in_order(diagnostics_of_edits(refused), read))) from None
        report_change(made, as_json)


def _others(name: str, read: Changes) -> Iterable[Diagnostic]:
    """What is wrong with the changes that could be read; not what is wrong because of those that could not."""
    from pcnc_runtime import operations

    try:
        operations.change_rules(name, read.edits, dry_run=True)
    except RefusedEdits as refused:
        found = zip(refused.refused, diagnostics_of_edits(refused), strict=True)
        return [diagnostic for each, diagnostic in found if not _follows_from_unread(each.edit, read)]
    except RuntimeProblem:
        pass  # it is told when all can be read
    return ()


def _follows_from_unread(edit: Edit, read: Changes) -> bool:
    return isinstance(edit, DeleteRule) and edit.match is not None and (edit.table, edit.match) in read.unread


def _in_order(found: Sequence[Diagnostic], read: Changes) -> Iterable[Diagnostic]:
    """Problems as they stand in the file: the first of them, and how many others there are."""
    from pcnc.change_problems import more_change_problems
    from pcnc.rule_reader import MOST_PROBLEMS

    told = sorted(found, key=lambda each: each.span.start if each.span else -1)
    yield from told[:MOST_PROBLEMS]
    more = len(told) - MOST_PROBLEMS if len(told) > MOST_PROBLEMS else 0
    if more or read.more:
        place = told[MOST_PROBLEMS].span if more else read.more_at
        yield more_change_problems(more + read.more, place)


def _tell_empty(name: str, source: Source, as_json: bool) -> None:
    from pcnc_runtime import operations

    if as_json:
        print_json(change_to_json(operations.change_rules(name, [], dry_run=True)))
    else:
        print(f"{name}: {source.path} says no change; nothing was changed")
