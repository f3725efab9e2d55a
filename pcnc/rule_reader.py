"""Reads rules as they are written in files, on the command line and on standard input, and writes them.

    10.0.0.0/8 -> drop                      # one field: its name may be left out
    ipv4.proto=tcp, l4.dport=22..25, tcp.flags=0x02 &&& 0x12 -> mark(3); * -> drop

A rule ends at a newline, at `;` or at the end of the text; a newline after `,`, `->`, `=`, `&&&` or inside parentheses does
not end it. Hundreds of thousands of rules are read, so nothing here is done twice for the same text, and where something
stands is found out only when it has to be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from pcnc import problems
from pcnc.diagnostics import Diagnostic, Severity
from pcnc.rule_values import BadValue, read_pattern, read_value
from pcnc.rules import Pattern, Rule, TableSchema
from pcnc.source import Source, Span

MOST_PROBLEMS = 20
"""How many bad rules are told; of the others only how many there are."""

Matches = tuple[Pattern, ...]

_PIECE = re.compile(r"([^\n;#]*)(#[^\n]*)?([\n;]|\Z)")
_COMMENT = re.compile(r"#[^\n]*")
_CONTINUES = (",", "->", "=", "&&&", "(")
_ACTION = re.compile(r"([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*\Z")


def read_rules(
    source: Source, schema: TableSchema, *, start: int = 0, end: int | None = None
) -> tuple[list[Rule], list[Diagnostic]]:
    """The rules in a stretch of a source, in the order written, and what is wrong with the others.

    At most `MOST_PROBLEMS` are told and the rest counted. `check_rules` finds what is wrong among sound rules.
    """
    reader = RuleReader(source, schema)
    rules: list[Rule] = []
    bad: list[Diagnostic] = []
    more = 0
    place: Span | None = None
    for text, offset in statements(source.text, start, len(source.text) if end is None else end):
        try:
            rules.append(reader.rule(text, offset))
        except BadRule as problem:
            if len(bad) < MOST_PROBLEMS:
                bad.append(problem.diagnostic)
            else:
                more += 1
                place = place or problem.diagnostic.span
    if more:
        bad.append(problems.more_rule_problems(more, place, Severity.ERROR))
    return rules, bad


def read_match(text: str, schema: TableSchema, *, path: str = "match") -> tuple[Matches | None, list[Diagnostic]]:
    """The left side of a rule alone, as one names the rule that is to go; None, and why, where it cannot be read.

    Two rules have the same match when their `matches` are equal.
    """
    source = Source(path, text)
    try:
        return RuleReader(source, schema).matches(text, 0), []
    except BadRule as problem:
        return None, [problem.diagnostic]


def statements(text: str, start: int, end: int) -> Iterator[tuple[str, int]]:
    """The statements in a stretch of text and where they begin. Comments inside one are blanked, so places stay right."""
    opened = -1
    for piece in _PIECE.finditer(text, start, end):
        written, _, terminator = piece.groups()
        if opened < 0:
            if not written or written.isspace():
                continue
            begins, whole = piece.start(), written
        else:
            begins = opened
            whole = _COMMENT.sub(lambda comment: " " * len(comment.group()), text[opened : piece.end(1)])
        if terminator == "\n" and _goes_on(whole):
            opened = begins
            continue
        opened = -1
        yield whole, begins
    if opened >= 0:
        yield _COMMENT.sub(lambda comment: " " * len(comment.group()), text[opened:end]), opened


def _goes_on(text: str) -> bool:
    return text.rstrip().endswith(_CONTINUES) or text.count("(") > text.count(")")


class BadRule(Exception):
    """A text that is no rule, and what is to be said of it."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class RuleReader:
    """Reads the rules of one table; remembers every value and action that it has read."""

    def __init__(self, source: Source, schema: TableSchema) -> None:
        self.source = source
        self.schema = schema
        self.columns = {column.name: index for index, column in enumerate(schema.columns)}
        self.single = len(schema.columns) == 1
        self.nothing: list[Pattern] = [None] * len(schema.columns)
        self.patterns: tuple[dict[str, Pattern], ...] = tuple({} for _ in schema.columns)
        self.actions: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.exact = () if schema.ordered else tuple(i for i, column in enumerate(schema.columns) if column.kind == "exact")

    def rule(self, text: str, offset: int) -> Rule:
        """A statement as a rule; raises BadRule."""
        left, arrow, right = text.partition("->")
        if not arrow:
            raise self._bad(lambda span: problems.malformed_rule("there is no `->` in this rule", span), text, offset)
        matches = self.matches(left, offset)
        known = self.actions.get(right)
        if known is None:
            known = self.actions[right] = self._action(right, offset + len(left) + 2)
        begins = offset + len(text) - len(text.lstrip())
        return Rule(matches, known[0], known[1], Span(self.source, begins, offset + len(text.rstrip())))

    # ---- the left side

    def matches(self, text: str, offset: int) -> Matches:
        """One pattern a column; raises BadRule."""
        patterns = self.nothing.copy()
        left = text.strip()
        if left != "*":
            if not left:
                raise self._bad(lambda span: problems.malformed_rule("there is no match before `->`", span), text, offset)
            if "->" in left:
                raise self._bad(lambda span: problems.malformed_rule("a match alone is wanted here", span), text, offset)
            parts = text.split(",")
            place = offset
            for index, part in enumerate(parts):
                if index and index == len(parts) - 1 and not part.strip():
                    break
                self._part(part, place, patterns)
                place += len(part) + 1
        for column in self.exact:
            if patterns[column] is None:
                name = self.schema.columns[column].name
                named = left == "*" or name in text
                raise self._bad(partial(problems.star_in_exact_column, name, named=named), text, offset)
        return tuple(patterns)

    def _part(self, part: str, place: int, patterns: list[Pattern]) -> None:
        """`l4.dport=22..25`, or in a table of one column `22..25`."""
        name, equals, value = part.partition("=")
        if not part.strip():
            raise self._bad(lambda span: problems.malformed_rule("a match is missing between commas", span), part, place)
        if equals:
            column = self.columns.get(name.strip())
            if column is None:
                known = tuple(self.columns)
                wanted = name.strip()
                raise self._bad(lambda span: problems.unknown_column(wanted, span, self.schema.name, known), name, place)
            value_place = place + len(name) + 1
        elif self.single:
            column, value, value_place = 0, part, place
        else:
            known = tuple(self.columns)
            raise self._bad(lambda span: problems.column_name_missing(self.schema.name, span, known), part, place)
        written = value.strip()
        if patterns[column] is not None:
            label = self.schema.columns[column].name
            raise self._bad(lambda span: problems.given_twice(label, span), part, place)
        cache = self.patterns[column]
        if written in cache:
            patterns[column] = cache[written]
            return
        try:
            patterns[column] = cache[written] = read_pattern(written, self.schema.columns[column])
        except BadValue as bad:
            raise self._bad(bad.tell, value, value_place) from None

    # ---- the right side

    def _action(self, text: str, offset: int) -> tuple[str, tuple[int, ...]]:
        match = _ACTION.match(text.strip())
        if match is None:
            what = "there is no action behind `->`" if not text.strip() else "this is not an action"
            raise self._bad(lambda span: problems.malformed_rule(what, span), text, offset)
        name, written = match.groups()
        action = next((action for action in self.schema.actions if action.name == name), None)
        if action is None:
            known = tuple(action.name for action in self.schema.actions)
            raise self._bad(lambda span: problems.action_not_in_table(name, self.schema.name, span, known), text, offset)
        arguments = written.split(",") if written and written.strip() else []
        if len(arguments) > 1 and not arguments[-1].strip():
            arguments.pop()
        if len(arguments) != len(action.parameters):
            wanted = ", ".join(f"{parameter.name}: {parameter.type}" for parameter in action.parameters)
            raise self._bad(lambda span: problems.wrong_argument_count(name, wanted, len(arguments), span), text, offset)
        values = []
        for argument, parameter in zip(arguments, action.parameters, strict=True):
            names = {**dict(self.schema.constants), **dict(parameter.type.members)}
            try:
                values.append(read_value(argument.strip(), parameter.type, names))
            except BadValue as bad:
                place = offset + text.index("(") + 1 + sum(len(other) + 1 for other in arguments[: len(values)])
                raise self._bad(bad.tell, argument, place) from None
        return name, tuple(values)

    def _bad(self, tell: Callable[[Span], Diagnostic], text: str, offset: int) -> BadRule:
        """A problem with a piece of text that begins at `offset`, told of the piece without the blanks around it."""
        begins = offset + len(text) - len(text.lstrip()) if text.strip() else offset
        return BadRule(tell(Span(self.source, begins, max(begins, offset + len(text.rstrip())))))
