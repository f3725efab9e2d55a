"""A pipeline as a picture: cards joined by arrows, with what was pruned marked. The model only; others draw it.

It imports nothing of the compiler, so that a target with no more than a manifest can draw what it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CardKind = Literal["entry", "parser", "table", "stage", "branch", "verdict"]

VERDICTS = ("next", "pass", "drop")
"""How a packet's way can end; the names of the verdict cards, from the top of a picture to its bottom."""

Way = tuple[str, str, str]
"""An edge of a pipeline: origin, target, label."""


@dataclass(frozen=True, slots=True)
class CardLine:
    """A line of a card: what it says, and to the right of it, smaller, what kind of thing that is (`lpm`, `header`)."""

    text: str
    pruned: bool = False
    note: str = ""
    begins_group: bool = False
    """Whether something else begins here: drawn with a thin line above."""


@dataclass(frozen=True, slots=True)
class Card:
    """A block, a verdict, or the place where packets come in. `note` is a fact for its head (`2 rules`)."""

    name: str
    kind: CardKind
    lines: tuple[CardLine, ...] = ()
    pruned: bool = False
    note: str = ""

    @property
    def shown_kind(self) -> str:
        """The kind, or nothing where the name says it (`parser`, `branch_2`)."""
        return "" if self.name.partition("_")[0] == self.kind else self.kind


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one card to another, by name. Pruned: no packet takes it any more."""

    origin: str
    target: str
    label: str
    pruned: bool = False

    @property
    def shown_label(self) -> str:
        """The label, or nothing where it tells no more than the arrow's end does."""
        return "" if self.label in ("next", self.target) else self.label


@dataclass(frozen=True, slots=True)
class Picture:
    """A chain to be drawn. Cards stand in the order in which packets can meet them, verdicts last."""

    title: str
    subtitle: str
    cards: tuple[Card, ...]
    arrows: tuple[Arrow, ...]

    def card(self, name: str) -> Card:
        """The card of that name; KeyError if there is none."""
        for candidate in self.cards:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where packets enter a chain (a block or a verdict) and the ways between its blocks."""

    entry: str
    ways: tuple[Way, ...]

    def from_card(self, origin: str) -> tuple[Way, ...]:
        """All ways, that of the packets into the chain among them."""
        return ((origin, self.entry, "next"), *self.ways)


def assemble(title: str, chain: str, blocks: Iterable[Card], whole: Wiring, kept: Wiring, counts: Mapping[str, int]) -> Picture:
    """Joins the cards of blocks by arrows: what is in `whole` but not in `kept` is pruned, ways around it are live.

    `counts` are packets by verdict, where they are known.
    """
    # A blank keeps this name apart from every block's.
    entry = f"{chain} packets"
    before, after = whole.from_card(entry), kept.from_card(entry)
    arrows = [Arrow(*way, pruned=way not in after) for way in before]
    arrows += [Arrow(*way) for way in after if way not in before]
    live = {arrow.target for arrow in arrows if not arrow.pruned}
    ends = {arrow.target for arrow in arrows} & set(VERDICTS)
    verdicts = [
        Card(name, "verdict", (), name not in live, f"{counts[name]:,}" if name in counts else "")
        for name in VERDICTS
        if name in ends
    ]
    cards = (Card(entry, "entry"), *blocks, *verdicts)
    return Picture(title, _what_is_left(cards), cards, tuple(arrows))


def _what_is_left(cards: Iterable[Card]) -> str:
    blocks = [card for card in cards if card.kind not in ("entry", "verdict")]
    parsed = [line for card in blocks if card.kind == "parser" for line in card.lines]
    programs = _share([card.pruned for card in blocks], "block", "run")
    return f"{programs}, {_share([line.pruned for line in parsed], 'field or header', 'parsed')}"


def _share(pruned: list[bool], noun: str, verb: str) -> str:
    kept, total = pruned.count(False), len(pruned)
    plural = {"field or header": "fields and headers"}.get(noun, f"{noun}s")
    things = noun if total == 1 else plural
    return f"{total} {things} {verb}" if kept == total else f"{kept} of {total} {things} {verb}"


def table_card(
    name: str,
    columns: Iterable[tuple[str, str, bool]],
    actions: Iterable[tuple[str, bool]],
    default: str,
    counts: str,
    pruned: bool,
    note: str,
) -> Card:
    """A table's card: columns (name, match kind, whether pruned), actions (text, whether pruned), default, what it counts."""
    lines = [CardLine(text, pruned or gone, kind) for text, kind, gone in columns]
    lines += [CardLine(f"→ {text}", pruned or gone, "", index == 0) for index, (text, gone) in enumerate(actions)]
    lines.append(CardLine(f"→ {default}", pruned, "default"))
    if counts:
        lines.append(CardLine(f"counts {counts}", pruned, "", True))
    return Card(name, "table", tuple(lines), pruned, note)


def rules_note(rules: int | None) -> str:
    """The fact for a table's head: how many rules it holds; nothing where that is not known."""
    match rules:
        case None:
            return ""
        case 0:
            return "no rule"
        case 1:
            return "1 rule"
        case _:
            return f"{rules:,} rules"
