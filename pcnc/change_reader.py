"""Reads files of changes: what is to become of the rules of several tables, all of it at once.

    add sources 10.0.0.0/8 -> drop              # a rule, as it is written everywhere
    add acl before 7 l4.dport=22 -> next        # in an ordered table: or `at 1`, or `last`
    delete sources 192.0.2.0/24; delete acl id 3
    replace destinations {
        203.0.113.0/24 -> drop
    }
    flush origins

Statements end as rules do. `add`, `delete` and `replace` take several in `{ }`. They are carried out in the order written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pcnc import problems
from pcnc.change_problems import VERBS, malformed_change, unknown_change
from pcnc.diagnostics import Diagnostic
from pcnc.rule_check import missing_columns
from pcnc.rule_edits import AddRule, DeleteRule, Edit, FlushTable, ReplaceRules
from pcnc.rule_reader import MOST_PROBLEMS, BadRule, Matches, RuleReader, statements
from pcnc.rules import Rule, TableSchema
from pcnc.source import Source, Span

_HEAD = re.compile(r"\s*([A-Za-z_]\w*)\s+([A-Za-z_]\w*)(?:\s+|\Z)")
_PLACE = re.compile(r"(?:(before|at)\s+([0-9]{1,18})|(last))(?:\s++(?![-=&|.,])|\s*\Z)")
_HALF_PLACE = re.compile(r"(before|at)(?:\s++(?![-=&|.,])|\Z)")
_ID = re.compile(r"\s*id\s+([0-9]{1,18})\s*\Z")
_HALF_ID = re.compile(r"\s*id\s++(?![-=&|.,])")
_BODY = re.compile(r"\{(?:[^}#]++|#[^\n]*+)*+\}")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a file asks for, in its order, and what is wrong with it.

    Of many problems the first are told; `more` is how many others there are, the first of them at `more_at`. `unread` are rules, by
    table and match, that were to be added and could not be read: that they are not there is no problem of its own.
    """

    edits: tuple[Edit, ...]
    problems: tuple[Diagnostic, ...]
    more: int
    more_at: Span | None
    unread: frozenset[tuple[str, Matches]]


def read_changes(source: Source, schemas: Sequence[TableSchema]) -> Changes:
    """The changes in a source. What the tables hold is not known here: whether a change can be carried out is found out later."""
    reader = _ChangeReader(source, schemas)
    reader.read()
    return Changes(tuple(reader.edits), tuple(reader.problems), reader.more, reader.more_at, frozenset(reader.unread))


class _ChangeReader:
    def __init__(self, source: Source, schemas: Sequence[TableSchema]) -> None:
        self.source = source
        self.readers = {schema.name: RuleReader(source, schema) for schema in schemas}
        self.needy = {schema.name for schema in schemas if any(action.needs for action in schema.actions)}
        self.edits: list[Edit] = []
        self.problems: list[Diagnostic] = []
        self.more = 0
        self.more_at: Span | None = None
        self.unread: set[tuple[str, Matches]] = set()

    def read(self) -> None:
        """Reads the whole source."""
        begin: int | None = 0
        while begin is not None:
            begin = self._stretch(begin)

    def _stretch(self, begin: int) -> int | None:
        """Reads up to behind the next `{ }`, and says where that ends; None at the end of the source."""
        for text, offset in statements(self.source.text, begin, len(self.source.text)):
            if "{" in text:
                return self._block(text, offset)
            try:
                self._statement(text, offset)
            except BadRule as bad:
                self._refuse(bad)
        return None

    def _refuse(self, bad: BadRule) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(bad.diagnostic)
        else:
            self.more += 1
            self.more_at = self.more_at or bad.diagnostic.span

    def _span(self, text: str, offset: int) -> Span:
        """Where a piece of text stands, without the blanks around it."""
        begin = offset + len(text) - len(text.lstrip())
        return Span(self.source, begin, max(begin, offset + len(text.rstrip())))

    def _malformed(self, reason: str, text: str, offset: int, verb: str = "") -> BadRule:
        return BadRule(malformed_change(reason, self._span(text, offset), verb))

    # ---- heads

    def _head(self, text: str, offset: int) -> tuple[str, RuleReader, int]:
        """What is to be done with which table, and where in the text the rest begins; raises BadRule."""
        head = _HEAD.match(text)
        word = head[1] if head else text.split(None, 1)[0]
        if word not in VERBS:
            at = offset + text.index(word)
            if word.startswith("}"):
                raise BadRule(malformed_change("this `}` has no `{`", Span(self.source, at, at + 1)))
            raise BadRule(unknown_change(word, Span(self.source, at, at + len(word))))
        if head is None:
            raise self._malformed(f"`{word}` does not say of which table", text, offset, word)
        reader = self.readers.get(head[2])
        if reader is None:
            place = Span(self.source, offset + head.start(2), offset + head.end(2))
            raise BadRule(problems.unknown_table(head[2], place, self.readers))
        return word, reader, head.end()

    # ---- statements

    def _statement(self, text: str, offset: int) -> None:
        verb, reader, rest = self._head(text, offset)
        match verb:
            case "add":
                self._add(reader, text, offset, rest)
            case "delete":
                self.edits.append(self._deletion(reader, text[rest:], offset + rest, self._span(text, offset)))
            case "flush" if not text[rest:].strip():
                self.edits.append(FlushTable(reader.schema.name, self._span(text, offset)))
            case "flush":
                raise self._malformed("`flush` takes a table and nothing else", text[rest:], offset + rest, verb)
            case _:
                raise self._malformed("the rules stand in `{ }`", text, offset, verb)

    def _add(self, reader: RuleReader, text: str, offset: int, rest: int) -> None:
        before = at = None
        last = False
        if place := _PLACE.match(text, rest):
            before, at, last = _numbers(place)
            rest = place.end()
        elif half := _HALF_PLACE.match(text, rest):
            wanted = "the id of a rule" if half[1] == "before" else "a position, from 1 on,"
            raise self._malformed(f"`{half[1]}` takes {wanted} and then the new rule", text[rest:], offset + rest, "add")
        if not text[rest:].strip():
            raise self._malformed("there is no rule to add", text, offset, "add")
        rule = self._rule(reader, text[rest:], offset + rest)
        self.edits.append(AddRule(reader.schema.name, rule, before, at, last))

    def _rule(self, reader: RuleReader, text: str, offset: int) -> Rule:
        """A rule that is to be in the table; raises BadRule, and remembers what it would have matched."""
        name = reader.schema.name
        try:
            rule = reader.rule(text, offset)
            if name in self.needy and (columns := missing_columns(rule, reader.schema)) is not None:
                raise BadRule(problems.rule_needs_header(rule.action, columns, rule.span))
        except BadRule:
            with suppress(BadRule):
                self.unread.add((name, reader.matches(text.partition("->")[0], offset)))
            raise
        return rule

    def _deletion(self, reader: RuleReader, text: str, offset: int, span: Span) -> DeleteRule:
        name = reader.schema.name
        if not text.strip():
            raise BadRule(malformed_change("there is nothing to delete", span, "delete"))
        if named := _ID.match(text):
            return DeleteRule(name, id=int(named[1]), span=span)
        if _HALF_ID.match(text):
            raise self._malformed("`id` takes the number of a rule", text, offset, "delete")
        # A whole rule is as good a name as its left side.
        matches = reader.rule(text, offset).matches if "->" in text else reader.matches(text, offset)
        return DeleteRule(name, match=matches, span=span)

    # ---- several in braces

    def _block(self, text: str, offset: int) -> int | None:
        """A statement with `{ }`; where it ends, None where it has no end."""
        brace = offset + text.index("{")
        body = _BODY.match(self.source.text, brace)
        try:
            if body is None:
                raise BadRule(malformed_change("this `{` has no `}`", Span(self.source, brace, brace + 1)))
            if not self.source.text[offset:brace].strip():
                raise BadRule(malformed_change("nothing stands before this `{`", Span(self.source, brace, brace + 1), "replace"))
            self._braced(self.source.text[offset:brace], offset, body.end() - 1)
        except BadRule as bad:
            self._refuse(bad)
        return body.end() if body else None

    def _braced(self, head: str, offset: int, end: int) -> None:
        verb, reader, rest = self._head(head, offset)
        name, begin = reader.schema.name, offset + len(head) + 1
        before = at = None
        last = False
        if verb == "add" and (place := _PLACE.fullmatch(head, rest)):
            before, at, last = _numbers(place)
            rest = place.end()
        if head[rest:].strip():
            raise self._malformed("this does not belong before `{`", head[rest:], offset + rest, verb)
        match verb:
            case "add":
                # Rules that are given together stay together, in their order.
                for index, rule in enumerate(self._rules(reader, begin, end)):
                    self.edits.append(AddRule(name, rule, before, None if at is None else at + index, last))
            case "delete":
                self._deletions(reader, begin, end)
            case "replace":
                self.edits.append(ReplaceRules(name, tuple(self._rules(reader, begin, end)), self._span(head, offset)))
            case _:
                raise self._malformed(f"`{verb}` takes a table and nothing else", "{", begin - 1, verb)

    def _rules(self, reader: RuleReader, begin: int, end: int) -> list[Rule]:
        found = []
        for text, offset in statements(self.source.text, begin, end):
            try:
                found.append(self._rule(reader, text, offset))
            except BadRule as bad:
                self._refuse(bad)
        return found

    def _deletions(self, reader: RuleReader, begin: int, end: int) -> None:
        for text, offset in statements(self.source.text, begin, end):
            try:
                self.edits.append(self._deletion(reader, text, offset, self._span(text, offset)))
            except BadRule as bad:
                self._refuse(bad)


def _numbers(place: re.Match[str]) -> tuple[int | None, int | None, bool]:
    """What was asked for as a place: before which id, at which position, last."""
    before, at = (int(place[2]) if place[1] == word else None for word in ("before", "at"))
    return before, at, place[3] is not None
