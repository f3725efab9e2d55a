"""The order of a table's rules while many edits move them: every edit takes about as long as one stretch of the order is.

The order is cut into stretches of some hundred rules; which one a rule is in is known by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pcnc_runtime.live_rules import LiveRule

_MOST = 512
"""Rules in a stretch; one that grows beyond is cut in two."""


@dataclass(slots=True, eq=False)
class _Stretch:
    rules: list[LiveRule] = field(default_factory=list)
    of_file: int = 0
    """How many of them are the file's alone."""


class RuleOrder:
    """Rules in their order; the ids are distinct."""

    def __init__(self, rules: Iterable[LiveRule]) -> None:
        self._stretches: list[_Stretch] = [_Stretch()]
        self._by_id: dict[int, _Stretch] = {}
        for rule in rules:
            self.append(rule)

    def __iter__(self) -> Iterator[LiveRule]:
        for stretch in self._stretches:
            yield from stretch.rules

    def append(self, rule: LiveRule) -> None:
        """Puts a rule behind all others."""
        self._put(len(self._stretches) - 1, len(self._stretches[-1].rules), rule)

    def insert_at(self, place: int, rule: LiveRule) -> None:
        """Puts a rule where it has `place` rules before it."""
        for index, stretch in enumerate(self._stretches):
            if place <= len(stretch.rules):
                self._put(index, place, rule)
                return
            place -= len(stretch.rules)
        raise IndexError(place)

    def insert_before(self, id: int, rule: LiveRule) -> None:
        """Puts a rule right before another one."""
        stretch = self._by_id[id]
        self._put(self._stretches.index(stretch), _index(stretch, id), rule)

    def insert_usual(self, rule: LiveRule) -> None:
        """Puts a rule where the operator's go: before the first that only the file has, else behind all."""
        for index, stretch in enumerate(self._stretches):
            if stretch.of_file:
                first = next(i for i, each in enumerate(stretch.rules) if each.origin == "file")
                self._put(index, first, rule)
                return
        self.append(rule)

    def insert_of_file(self, rule: LiveRule) -> None:
        """Puts a rule of the file among the file's others, which stand as they do in the file."""
        wanted = rule.file_index or 0
        last: tuple[int, int] | None = None
        for index, stretch in enumerate(self._stretches):
            if not stretch.of_file:
                continue
            places = [i for i, each in enumerate(stretch.rules) if each.origin == "file"]
            if (stretch.rules[places[-1]].file_index or 0) > wanted:
                self._put(index, next(i for i in places if (stretch.rules[i].file_index or 0) > wanted), rule)
                return
            last = index, places[-1] + 1
        if last is None:
            self.append(rule)
        else:
            self._put(*last, rule)

    def remove(self, id: int) -> None:
        """Takes a rule out."""
        stretch = self._by_id.pop(id)
        removed = stretch.rules.pop(_index(stretch, id))
        stretch.of_file -= removed.origin == "file"
        if not stretch.rules and len(self._stretches) > 1:
            self._stretches.remove(stretch)

    def place(self, id: int) -> tuple[int, int]:
        """What a rule's place can be compared by."""
        stretch = self._by_id[id]
        return self._stretches.index(stretch), _index(stretch, id)

    def _put(self, index: int, place: int, rule: LiveRule) -> None:
        stretch = self._stretches[index]
        stretch.rules.insert(place, rule)
        stretch.of_file += rule.origin == "file"
        self._by_id[rule.id] = stretch
        if len(stretch.rules) > _MOST:
            half = _Stretch(stretch.rules[_MOST // 2 :])
            del stretch.rules[_MOST // 2 :]
            half.of_file = sum(each.origin == "file" for each in half.rules)
            stretch.of_file -= half.of_file
            self._by_id.update((each.id, half) for each in half.rules)
            self._stretches.insert(index + 1, half)


def _index(stretch: _Stretch, id: int) -> int:
    return next(index for index, rule in enumerate(stretch.rules) if rule.id == id)
