"""`pcnc rules NAME TABLE add|delete|replace`: changes of rules, each as one generation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

import typer

from pcnc.cli.changes import report_change, told_if_interrupted
from pcnc.cli.options import AsJson, Verbose
from pcnc.cli.progress import working
from pcnc.cli.read_source import read_rule_file
from pcnc.cli.report import guarded, tell
from pcnc.diagnostics import CompileError, Diagnostic, Severity
from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rules import Rule, TableSchema
from pcnc.source import Source
from pcnc_runtime.errors import RuntimeProblem

_ID = re.compile(r"[0-9]+\Z")

RuleArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="RULE", help="Rules, such as '10.0.0.0/8 -> drop'; - is standard input.", show_default=False),
]
FileOption = Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="A file of rules; - is standard input.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and change nothing.")]


def register_changes(group: typer.Typer) -> None:
    """Adds this module's commands."""
    group.command()(add)
    group.command()(delete)
    group.command()(replace)


@guarded
def add(
    context: typer.Context,
    rules: RuleArguments = None,
    file: FileOption = None,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="Before the rule with this id.")] = None,
    at: Annotated[int | None, typer.Option("--at", metavar="N", help="At this position; 1 is the first.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Behind all others.")] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Add rules.

    In an ordered table they stand before the file's rules and behind the operator's earlier ones, unless a place is given.
    """
    name, table = context.obj
    with told_if_interrupted(name):
        found = read_all(rules, file, find_schema(name, table))
        # Rules that are given together stay together, in their order.
        places = (None if at is None else at + index for index in range(len(found)))
        edits = [AddRule(table, rule, before, place, last) for rule, place in zip(found, places, strict=True)]
        change(name, edits, dry_run, as_json)


@guarded
def delete(
    context: typer.Context,
    rules: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID|MATCH", help="Rules by id, or by what they match: '10.0.0.0/8'.", show_default=False),
    ] = None,
    file: FileOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All rules, those of the file, too.")] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Delete rules, each named by its id or by its match. A rule of the file comes back with the next swap."""
    name, table = context.obj
    if everything == bool(rules or file):
        raise typer.BadParameter("give ids, matches, or --all" if not everything else "--all goes alone")
    with told_if_interrupted(name):
        schema = find_schema(name, table)
        edits: list[Edit]
        if everything:
            edits = [FlushTable(table)]
        else:
            edits = [_deletion(text, schema) for text in rules or ()]
            if file is not None:
                edits += [DeleteRule(table, match=rule.matches, span=rule.span) for rule in read_all(None, file, schema)]
        change(name, edits, dry_run, as_json)


@guarded
def replace(
    context: typer.Context,
    rules: RuleArguments = None,
    file: FileOption = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Put rules in place of all that were added; the file's stay. One with a match that was there keeps its id and its count."""
    name, table = context.obj
    with told_if_interrupted(name):
        found = read_all(rules, file, find_schema(name, table))
        change(name, [ReplaceRules(table, tuple(found))], dry_run, as_json)


def change(name: str, edits: Sequence[Edit], dry_run: bool, as_json: bool) -> None:
    """Carries out edits of rules and tells what became of them."""
    from pcnc.cli.compile_service import recompile
    from pcnc_runtime import operations

    with working(f"changing {name}"):
        made = operations.change_rules(name, edits, recompile=recompile, dry_run=dry_run)
    report_change(made, as_json)


# ---- what is asked for


def find_schema(name: str, table: str) -> TableSchema:
    """A table of a loaded service. RuntimeProblem `no-such-table`, `not-loaded`."""
    from pcnc_runtime.operations import read_schemas

    schemas = read_schemas(name)
    for schema in schemas:
        if schema.name == table:
            return schema
    names = [schema.name for schema in schemas]
    close = get_close_matches(table, names, 1)
    listed = ", ".join(f"`{each}`" for each in names)
    help = f"did you mean `{close[0]}`?" if close else f"it has {listed}" if names else "it has no tables"
    raise RuntimeProblem("no-such-table", f"`{name}` has no table `{table}`", help)


def read_all(rules: Sequence[str] | None, file: str | None, schema: TableSchema) -> list[Rule]:
    """The rules of all arguments and of a file, in their order, warnings told. CompileError with everything that is wrong.

    typer.BadParameter where there is neither; RuntimeProblem as with `read_rule_file`.
    """
    from pcnc.rule_check import check_rules
    from pcnc.rule_reader import read_rules

    if not rules and file is None:
        raise typer.BadParameter("give rules, or a file of them with --file")
    sources = [
        read_rule_file("-") if text == "-" else Source(f"<rule {number}>", text) for number, text in enumerate(rules or (), start=1)
    ]
    if file is not None:
        sources.append(read_rule_file(file))
    found: list[Rule] = []
    problems: list[Diagnostic] = []
    with working("reading rules"):
        for source in sources:
            read, bad = read_rules(source, schema)
            found += read
            problems += bad
        if not problems:
            problems = check_rules(found, schema)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise CompileError(tuple(problems))
    tell(problems)
    return found


def _deletion(text: str, schema: TableSchema) -> DeleteRule:
    from pcnc.rule_reader import read_match

    if _ID.match(text.strip()):
        return DeleteRule(schema.name, id=int(text))
    # A whole rule is as good a name as its left side.
    match, problems = read_match(text.partition("->")[0], schema, path="<match>")
    if match is None:
        raise CompileError(tuple(problems))
    return DeleteRule(schema.name, match=match)
