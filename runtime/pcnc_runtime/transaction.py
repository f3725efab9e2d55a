"""Edits of any number of tables as one change: all of them in one generation, or, where one cannot be carried out, none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pcnc.rule_edits import Edit
from pcnc_runtime.advance import Loaded, Step, Wanted, no_such_table
from pcnc_runtime.changes import Change
from pcnc_runtime.edit_rules import edit_rules
from pcnc_runtime.errors import RefusedEdit, RefusedEdits
from pcnc_runtime.recovery import has_its_counts, is_in_order


def with_edits(wanted: Wanted, edits: Sequence[Edit]) -> Wanted:
    """The same with other rules. A table whose rules end as they were has the very same rules.

    RefusedEdits with everything that cannot be carried out, in the order of the edits: `no-such-table`, and those of
    `edit_rules`.
    """
    by_table: dict[str, list[Edit]] = {}
    for edit in edits:
        by_table.setdefault(edit.table, []).append(edit)
    rules, next_ids, notes = dict(wanted.rules), dict(wanted.next_ids), list[str]()
    refused: list[RefusedEdit] = []
    for table, asked in by_table.items():
        if table not in rules:
            problem = no_such_table(wanted.manifest, table)
            refused += (RefusedEdit(edit, problem, edit.span) for edit in asked)
            continue
        try:
            made = edit_rules(wanted.manifest.table(table).schema, rules[table], next_ids[table], asked)
        except RefusedEdits as problems:
            refused += problems.refused
            continue
        if made.rules != rules[table]:
            rules[table], next_ids[table] = made.rules, made.next_id
            notes += made.notes
    if refused:
        places = {id(edit): place for place, edit in enumerate(edits)}
        raise RefusedEdits(sorted(refused, key=lambda each: places[id(each.edit)]))
    return replace(wanted, rules=rules, next_ids=next_ids, notes=(*wanted.notes, *notes))


def changes_nothing(step: Step, wanted: Wanted) -> bool:
    """Whether all rules are those that are in force, by code that is in order and as good as can be had."""
    loaded = step.loaded
    live, tables = loaded.live, loaded.live.tables
    if any(rules is not tables[table].rules for table, rules in wanted.rules.items()):
        return False
    better = not live.exact and step.recompile is not None and bool(live.source)
    return not better and is_in_order(loaded.place, loaded.state) and has_its_counts(loaded.place, loaded.state)


def nothing_changed(loaded: Loaded, dry_run: bool) -> Change:
    """The report of a change that finds everything as it is to be; no generation is made for it."""
    live, kept = loaded.live, loaded.state.kept
    return Change(
        name=loaded.place.name,
        what="rules",
        generation=live.number,
        previous=kept[1] if len(kept) > 1 else None,
        in_force=0.0,
        flip=0.0,
        variant=loaded.bundle.variant(live.variant).variant.name,
        exact=live.exact,
        compiled=False,
        programs=0,
        dry_run=dry_run,
        changed=False,
    )
