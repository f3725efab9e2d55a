"""Changes of rules as data: what an operator asks of the tables of a running service.

Like `rules`, this stands apart from the rest of the compiler. Where an edit was read from text, its span says where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pcnc.rules import Pattern, Rule
from pcnc.source import Span


@dataclass(frozen=True, slots=True)
class AddRule:
    """A new rule of the operator.

    In an ordered table it stands before all rules of the file, behind the operator's earlier ones, unless told otherwise: before
    the rule with the id `before`; `at` a position (1 is the first); or `last`. At most one of these.
    """

    table: str
    rule: Rule
    before: int | None = None
    at: int | None = None
    last: bool = False

    @property
    def span(self) -> Span | None:
        """Where the rule stands."""
        return self.rule.span


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Removes the rule with this id, or with this match (in an ordered table the first one). Exactly one is given."""

    table: str
    id: int | None = None
    match: tuple[Pattern, ...] | None = None
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ReplaceRules:
    """These in place of all rules of the operator; the file's stay. A rule with a match that was there keeps id and count."""

    table: str
    rules: tuple[Rule, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FlushTable:
    """Removes all rules of a table, those of the file, too."""

    table: str
    span: Span | None = field(default=None, compare=False, repr=False)


Edit = AddRule | DeleteRule | ReplaceRules | FlushTable
