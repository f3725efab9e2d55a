"""What a swap makes of a table's rules: the file's become the new file's, the operator's stay, ids live on where they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pcnc.rule_values import format_rule
from pcnc.rules import ActionSchema, ColumnSchema, Pattern, Rule, TableSchema
from pcnc_runtime.live_rules import LiveRule, why_not

Matches = tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """A table's rules after a swap, the next id to give, and the operator's rules that could not stay, each with the reason."""

    rules: tuple[LiveRule, ...]
    next_id: int
    misfits: tuple[str, ...] = ()


def merge_rules(old: TableSchema, rules: Sequence[LiveRule], new: TableSchema, file_rules: Sequence[Rule], next_id: int) -> Merged:
    """Brings a table's rules into the table of the same name of the new version.

    A rule continues an old one, with its id and slot, where it has the same match. The operator's rules keep their places in an
    ordered table: before all of the file's, behind all of them, or before the one of the file that followed.
    """
    translate = _translation(old, new)
    mine: dict[int, LiveRule] = {}
    misfits: list[str] = []
    for rule in rules:
        if rule.origin != "file":
            translated = translate(rule.rule)
            reason = translated if isinstance(translated, str) else why_not(translated, new)
            if not reason and isinstance(translated, Rule):
                mine[rule.id] = LiveRule(rule.id, "operator", translated, rule.slot)
            else:
                misfits.append(f"rule {rule.id} of `{old.name}` (`{format_rule(rule.rule, old)}`): {reason}")
    inherited = _inherited(rules, translate, mine)
    by_rule = {rule.rule: rule for rule in mine.values()}
    by_match = {rule.rule.matches: rule for rule in mine.values()}
    from_file: list[LiveRule] = []
    for index, wanted in enumerate(file_rules):
        if wanted in by_rule:
            same = by_rule.pop(wanted)
            mine[same.id] = replace(same, origin="both", file_index=index)
            continue
        if not new.ordered and (other := by_match.get(wanted.matches)) is not None:
            text = f"rule {other.id} of `{old.name}` (`{format_rule(other.rule, new)}`)"
            misfits.append(f"{text}: the new file says `{format_rule(wanted, new)}`")
            del mine[other.id]
            kept: LiveRule | None = other
        else:
            kept = inherited.take(wanted.matches)
        if kept is None:
            from_file.append(LiveRule(next_id, "file", wanted, 0, index))
            next_id += 1
        else:
            from_file.append(LiveRule(kept.id, "file", wanted, kept.slot, index))
    together = [*mine.values(), *from_file]
    merged = _in_order(rules, mine, from_file) if new.ordered else sorted(together, key=lambda rule: rule.id)
    return Merged(tuple(merged), next_id, tuple(misfits))


def misfits_of(table: str, schema: TableSchema, rules: Sequence[LiveRule]) -> tuple[str, ...]:
    """The operator's rules of a table that the new version does not have."""
    return tuple(
        f"rule {rule.id} of `{table}` (`{format_rule(rule.rule, schema)}`): there is no such table"
        for rule in rules
        if rule.origin != "file"
    )


class _Inherited:
    """The file's old rules by match, each continued by one new rule at most."""

    def __init__(self, found: dict[Matches, list[LiveRule]]) -> None:
        self._found = found

    def take(self, matches: Matches) -> LiveRule | None:
        """The old rule with this match, the first where there are several."""
        rules = self._found.get(matches)
        return rules.pop(0) if rules else None


def _inherited(rules: Sequence[LiveRule], translate: Callable[[Rule], Rule | str], mine: dict[int, LiveRule]) -> _Inherited:
    found: dict[Matches, list[LiveRule]] = {}
    for rule in rules:
        if rule.id not in mine and rule.origin == "file":
            translated = translate(rule.rule)
            if isinstance(translated, Rule):
                found.setdefault(translated.matches, []).append(rule)
    return _Inherited(found)


def _translation(old: TableSchema, new: TableSchema) -> Callable[[Rule], Rule | str]:
    """A rule of the old table as one of the new, columns brought together by name; or the reason why it is none."""
    actions = {action.name: action for action in new.actions}
    changed = {action.name: _why_other(action, actions.get(action.name), new) for action in old.actions}
    if _alike(old.columns, new.columns):
        return lambda rule: changed[rule.action] or rule
    positions = {column.name: index for index, column in enumerate(new.columns)}

    def translate(rule: Rule) -> Rule | str:
        if changed[rule.action]:
            return changed[rule.action]
        matches: list[Pattern] = [None] * len(new.columns)
        for column, pattern in zip(old.columns, rule.matches, strict=True):
            if pattern is None:
                continue
            index = positions.get(column.name)
            if index is None:
                return f"the table does not match `{column.name}` any more"
            if new.columns[index].type != column.type:
                return f"`{column.name}` is of type {new.columns[index].type} now"
            matches[index] = pattern
        return replace(rule, matches=tuple(matches))

    return translate


def _alike(old: Sequence[ColumnSchema], new: Sequence[ColumnSchema]) -> bool:
    return [(column.name, column.type) for column in old] == [(column.name, column.type) for column in new]


def _why_other(old: ActionSchema, new: ActionSchema | None, table: TableSchema) -> str:
    if new is None:
        return f"the table has no action `{old.name}` any more"
    if [parameter.type for parameter in old.parameters] != [parameter.type for parameter in new.parameters]:
        return f"`{old.name}` has other parameters now"
    return ""


def _in_order(old: Sequence[LiveRule], mine: dict[int, LiveRule], from_file: list[LiveRule]) -> list[LiveRule]:
    """The operator's rules around and between those of the file, as they stood around the old file's."""
    survivors = {rule.id for rule in from_file}
    places = [index for index, rule in enumerate(old) if rule.origin == "file"]
    first, last = (places[0], places[-1]) if places else (len(old), len(old))
    followed_by: list[int | None] = []
    following = None
    for rule in reversed(old):
        following = rule.id if rule.id in survivors else following
        followed_by.append(following)
    followed_by.reverse()
    front: list[LiveRule] = []
    behind: list[LiveRule] = []
    before: dict[int, list[LiveRule]] = {}
    after: dict[int, list[LiveRule]] = {}
    preceding = None
    for index, rule in enumerate(old):
        preceding = rule.id if rule.id in survivors else preceding
        if rule.id not in mine:
            continue
        moved, following = mine[rule.id], followed_by[index]
        if index < first:
            front.append(moved)
        elif index > last:
            behind.append(moved)
        elif following is not None:
            before.setdefault(following, []).append(moved)
        elif preceding is not None:
            after.setdefault(preceding, []).append(moved)
        else:
            front.append(moved)
    middle = [each for rule in from_file for each in (*before.get(rule.id, ()), rule, *after.get(rule.id, ()))]
    return [*front, *middle, *behind]
