"""Edits of a table's rules, one after another, and everything that is wrong with them.

An edit that cannot be carried out is left out and remembered, and the others go on, so that all problems are told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rule_values import format_match, format_rule
from pcnc.rules import Pattern, Rule, TableSchema
from pcnc.source import Span
from pcnc_runtime.errors import RefusedEdit, RefusedEdits, RuntimeProblem
from pcnc_runtime.live_rules import Edited, LiveRule, first_of, no_room, why_not
from pcnc_runtime.rule_order import RuleOrder

Matches = tuple[Pattern, ...]

_LIST_HELP = "`pcnc rules NAME TABLE list` shows them with their ids"


def edit_rules(schema: TableSchema, rules: Sequence[LiveRule], next_id: int, edits: Iterable[Edit]) -> Edited:
    """Carries out edits one after another; all of them are for this table, which at the end must have room for what is in it.

    RefusedEdits with all that cannot be carried out: `bad-rule`, `rule-exists`, `no-such-rule`, `bad-position`, `table-full`.
    """
    editing = _Editing(schema, rules, next_id)
    for edit in edits:
        editing.carry_out(edit)
    return editing.result()


@dataclass(slots=True)
class _Editing:
    """A table's rules while edits go on. Many edits take no longer than all of them need."""

    schema: TableSchema
    before: Sequence[LiveRule]
    next_id: int
    notes: list[str] = field(default_factory=list)
    refused: list[RefusedEdit] = field(default_factory=list)
    _by_id: dict[int, LiveRule] = field(init=False)
    _by_match: dict[Matches, list[int]] = field(init=False)
    _order: RuleOrder | None = field(init=False)
    """None where the table has no order."""
    _added: dict[int, Span] = field(default_factory=dict)
    """Where the rules stand that these edits have added, by id."""
    _deleted: dict[int | Matches, Span] = field(default_factory=dict)
    """Where that stands which took a rule away, by id and by match."""
    _overfull: Edit | None = None
    """The edit since which there are more rules than the table has room for."""

    def __post_init__(self) -> None:
        self._begin_with(self.before)

    def _begin_with(self, rules: Sequence[LiveRule]) -> None:
        self._by_id = {rule.id: rule for rule in rules}
        self._by_match = {}
        for rule in rules:
            self._by_match.setdefault(rule.rule.matches, []).append(rule.id)
        self._order = RuleOrder(rules) if self.schema.ordered else None

    def carry_out(self, edit: Edit) -> None:
        """One edit, or what is wrong with it."""
        match edit:
            case AddRule():
                self._add(edit)
            case DeleteRule():
                self._delete(edit)
            case ReplaceRules():
                self._replace(edit)
            case FlushTable():
                self._flush(edit)
            case _:
                assert_never(edit)
        if len(self._by_id) <= self.schema.size:
            self._overfull = None
        elif self._overfull is None:
            self._overfull = edit

    def result(self) -> Edited:
        """The rules as they are now; raises RefusedEdits."""
        if self._overfull is not None:
            self._refuse(self._overfull, no_room(self.schema, len(self._by_id)))
        if self.refused:
            raise RefusedEdits(self.refused)
        rules = self._order if self._order is not None else sorted(self._by_id.values(), key=lambda rule: rule.id)
        return Edited(tuple(rules), self.next_id, first_of(self.notes, f"more notes on rules of `{self.schema.name}`"))

    # -- bookkeeping

    def _enter(self, rule: LiveRule) -> None:
        self._by_id[rule.id] = rule
        self._by_match.setdefault(rule.rule.matches, []).append(rule.id)

    def _remove(self, rule: LiveRule) -> None:
        del self._by_id[rule.id]
        same = self._by_match[rule.rule.matches]
        same.remove(rule.id)
        if not same:
            del self._by_match[rule.rule.matches]
        if self._order is not None:
            self._order.remove(rule.id)

    def _place(self, rule: LiveRule, edit: AddRule) -> None:
        self._enter(rule)
        order = self._order
        if order is None:
            return
        if edit.last:
            order.append(rule)
        elif edit.at is not None:
            order.insert_at(edit.at - 1, rule)
        elif edit.before is not None:
            order.insert_before(edit.before, rule)
        else:
            order.insert_usual(rule)

    def _new(self, rule: Rule) -> LiveRule:
        made = LiveRule(self.next_id, "operator", _without_span(rule))
        self.next_id += 1
        if rule.span is not None:
            self._added[made.id] = rule.span
        return made

    def _remember_deleted(self, rule: LiveRule, span: Span | None) -> None:
        if span is not None:
            self._deleted[rule.id] = self._deleted[rule.rule.matches] = span

    def _refuse(
        self, edit: Edit, problem: RuntimeProblem, span: Span | None = None, note: str = "", earlier: Span | None = None
    ) -> None:
        self.refused.append(RefusedEdit(edit, problem, span or edit.span, note, earlier))

    # -- what is asked for

    def _add(self, edit: AddRule) -> None:
        if reason := why_not(edit.rule, self.schema):
            self._refuse(edit, RuntimeProblem("bad-rule", reason))
            return
        if problem := self._bad_place(edit):
            self._refuse(edit, problem)
            # It counts as added all the same: what comes later may speak of it.
            edit = AddRule(edit.table, edit.rule)
        ids = self._by_match.get(edit.rule.matches, ())
        same = [self._by_id[id] for id in ids]
        equal = next((rule for rule in same if rule.rule == edit.rule), None)
        if equal is not None and equal.origin == "file":
            self._remove(equal)
            self._place(replace(equal, origin="both"), edit)
        elif equal is not None or (same and not self.schema.ordered):
            self._refuse_existing(edit, edit.rule, equal or same[0])
        else:
            self._place(self._new(edit.rule), edit)

    def _bad_place(self, edit: AddRule) -> RuntimeProblem | None:
        name, count = self.schema.name, len(self._by_id)
        given = (edit.before is not None) + (edit.at is not None) + edit.last
        if given > 1:
            return RuntimeProblem("bad-position", "a rule has one place: before another, at a position, or last")
        if given and not self.schema.ordered:
            text = f"table `{name}` is not ordered: its rules have no places"
            return RuntimeProblem("bad-position", text, "leave the place out")
        if edit.before is not None:
            if edit.before not in self._by_id:
                return self._unknown(edit.before)
            if self._by_id[edit.before].rule == edit.rule:
                text = f"rule {edit.before} of `{name}` is the same rule, and has no place before itself"
                return RuntimeProblem("bad-position", text)
        if edit.at is not None and not 1 <= edit.at <= count + 1:
            text = f"table `{name}` has {count} rules, so there is no position {edit.at}"
            return RuntimeProblem("bad-position", text, f"positions go from 1 to {count + 1}")
        return None

    def _delete(self, edit: DeleteRule) -> None:
        found = self._find(edit)
        if found is None:
            return
        self._remove(found)
        self._remember_deleted(found, edit.span)
        match found.origin:
            case "operator":
                pass
            case "file":
                text = format_rule(found.rule, self.schema)
                self.notes.append(f"rule {found.id} of `{self.schema.name}` (`{text}`) is the file's: a swap brings it back")
            case "both":
                text = format_rule(found.rule, self.schema)
                self.notes.append(f"rule {found.id} of `{self.schema.name}` (`{text}`) stays: the file has it, too")
                back = replace(found, origin="file")
                self._enter(back)
                if self._order is not None:
                    self._order.insert_of_file(back)
            case _:
                assert_never(found.origin)

    def _find(self, edit: DeleteRule) -> LiveRule | None:
        if (edit.id is None) == (edit.match is None):
            self._refuse(edit, RuntimeProblem("no-such-rule", "a rule is named by its id or by its match"))
            return None
        if edit.id is not None:
            if edit.id not in self._by_id:
                self._refuse_gone(edit, self._unknown(edit.id), edit.id)
            return self._by_id.get(edit.id)
        match = edit.match or ()
        ids = self._by_match.get(match, [])
        if len(ids) > 1 and self._order is not None:
            return self._by_id[min(ids, key=self._order.place)]
        if ids:
            return self._by_id[ids[0]]
        text = format_match(match, self.schema) if len(match) == len(self.schema.columns) else str(match)
        problem = RuntimeProblem("no-such-rule", f"table `{self.schema.name}` has no rule that matches `{text}`", _LIST_HELP)
        self._refuse_gone(edit, problem, match)
        return None

    def _replace(self, edit: ReplaceRules) -> None:
        now = list(self._order) if self._order is not None else list(self._by_id.values())
        file = [rule for rule in now if rule.origin != "operator"]
        old = _Kept(rule for rule in now if rule.origin == "operator")
        both = {rule.rule: rule for rule in file}
        matched = {rule.rule.matches: rule for rule in file}
        mine: list[LiveRule] = []
        seen: dict[object, Rule] = {}
        for rule in edit.rules:
            if reason := why_not(rule, self.schema):
                self._refuse(edit, RuntimeProblem("bad-rule", reason), rule.span)
                continue
            key: object = rule if self.schema.ordered else rule.matches
            if key in seen:
                text = f"`{format_match(rule.matches, self.schema)}` is there twice among the new rules of `{self.schema.name}`"
                problem = RuntimeProblem("rule-exists", text, "keep one of them")
                self._refuse(edit, problem, rule.span, "the first one is here", seen[key].span)
                continue
            seen[key] = rule
            if rule in both:
                mine.append(replace(both.pop(rule), origin="both"))
            elif rule.matches in matched and not self.schema.ordered:
                self._refuse_existing(edit, rule, matched[rule.matches])
            elif kept := old.take(rule):
                mine.append(replace(kept, rule=_without_span(rule)))
            else:
                mine.append(self._new(rule))
        for gone in old.left():
            self._remember_deleted(gone, edit.span)
        rest = [replace(rule, origin="file") for rule in both.values()]
        self._begin_with([*mine, *sorted(rest, key=lambda rule: rule.file_index or 0)])

    def _flush(self, edit: FlushTable) -> None:
        for rule in self._by_id.values():
            self._remember_deleted(rule, edit.span)
        if of_file := sum(rule.origin != "operator" for rule in self._by_id.values()):
            rules = "1 rule" if of_file == 1 else f"{of_file:,} rules"
            verb, them = ("is", "it") if of_file == 1 else ("are", "them")
            self.notes.append(f"{rules} of `{self.schema.name}` {verb} the file's: a swap brings {them} back")
        self._begin_with(())

    # -- problems

    def _unknown(self, id: int) -> RuntimeProblem:
        return RuntimeProblem("no-such-rule", f"table `{self.schema.name}` has no rule {id}", _LIST_HELP)

    def _refuse_gone(self, edit: DeleteRule, problem: RuntimeProblem, key: int | Matches) -> None:
        earlier = self._deleted.get(key)
        self._refuse(edit, problem, None, "it was deleted here" if earlier else "", earlier)

    def _refuse_existing(self, edit: Edit, rule: Rule, there: LiveRule) -> None:
        match = format_match(rule.matches, self.schema)
        if earlier := self._added.get(there.id):
            text = f"table `{self.schema.name}` gets a rule for `{match}` twice"
            problem = RuntimeProblem("rule-exists", text, "keep one of them")
            self._refuse(edit, problem, rule.span, f"the first one is here, and says `{there.rule.action}`", earlier)
            return
        whose = "" if there.origin == "operator" else ", from the file,"
        text = f"table `{self.schema.name}` has a rule for `{match}` already: rule {there.id}{whose} says `{there.rule.action}`"
        self._refuse(edit, RuntimeProblem("rule-exists", text, f"delete rule {there.id} first"), rule.span)


def _without_span(rule: Rule) -> Rule:
    """A rule that does not keep the text alive which it was read from."""
    return replace(rule, span=None) if rule.span else rule


class _Kept:
    """Old rules by match, each handed out once, an equal one before one that only has the same match."""

    def __init__(self, rules: Iterable[LiveRule]) -> None:
        self._by_match: dict[Matches, list[LiveRule]] = {}
        for rule in rules:
            self._by_match.setdefault(rule.rule.matches, []).append(rule)

    def take(self, rule: Rule) -> LiveRule | None:
        """The old rule that this one continues."""
        found = self._by_match.get(rule.matches)
        if not found:
            return None
        return found.pop(next((i for i, old in enumerate(found) if old.rule == rule), 0))

    def left(self) -> Iterable[LiveRule]:
        """Those that were not handed out."""
        return (rule for rules in self._by_match.values() for rule in rules)
