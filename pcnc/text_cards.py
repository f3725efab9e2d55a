"""Cards of a picture in characters: how large they are, and how they are drawn on a canvas."""

from __future__ import annotations

from pcnc.picture import Card, CardLine
from pcnc.text_canvas import Canvas, Style

PORT = 1
"""Rows from a card's top to where arrows meet it."""


def is_plain(card: Card) -> bool:
    """Whether a card is drawn without a frame: where packets come from or end."""
    return card.kind in ("entry", "verdict")


def card_width(card: Card, colour: bool) -> int:
    """The characters that a card takes from left to right."""
    if is_plain(card):
        return len(_plain_text(card))
    body = max((len(_shown(line, card, colour)) + (len(line.note) + 2 if line.note else 0) for line in card.lines), default=0)
    return max(body + 4, len(_title(card)) + 4)


def card_height(card: Card) -> int:
    """The rows that a card takes; one without a frame stands in the middle of three."""
    return 3 if is_plain(card) else len(card.lines) + 2


def draw_card(canvas: Canvas, card: Card, x: int, y: int, width: int, height: int, colour: bool) -> None:
    """Draws a card; what does not fit is cut."""
    if is_plain(card):
        canvas.put(x, y + PORT, cut(_plain_text(card), width), "dim" if card.pruned else style_of(card))
        return
    level, upright = ("┄", "┊") if card.pruned else ("─", "│")
    frame: Style = "dim" if card.pruned else ""
    canvas.put(x, y, f"┌{level * (width - 2)}┐", frame)
    for row in range(1, height - 1):
        canvas.put(x, y + row, upright, frame)
        canvas.put(x + width - 1, y + row, upright, frame)
    canvas.put(x, y + height - 1, f"└{level * (width - 2)}┘", frame)
    title = cut(_title(card), width - 4)
    canvas.put(x + 1, y, f" {title} ", frame)
    if not card.pruned:
        canvas.put(x + 2, y, title[: len(card.name)], style_of(card))
    for row, line in enumerate(card.lines, 1):
        style: Style = "dim" if card.pruned or line.pruned else ""
        room = width - 4 - (len(line.note) + 2 if line.note else 0)
        canvas.put(x + 2, y + row, cut(_shown(line, card, colour), room), style)
        canvas.put(x + width - 2 - len(line.note), y + row, line.note, "dim")


def style_of(card: Card) -> Style:
    """The style that tells a card's kind, or which verdict it is."""
    match card.name:
        case "drop" | "pass" | "next" if card.kind == "verdict":
            return card.name
        case _:
            return "bold" if card.kind == "verdict" else card.kind


def _plain_text(card: Card) -> str:
    """With a blank where the arrow is."""
    text = f"{'✗ ' if card.pruned else ''}{card.name} {card.note}".rstrip()
    return f"{text} " if card.kind == "entry" else f" {text}"


def _title(card: Card) -> str:
    return " · ".join(part for part in (card.name, card.note or card.shown_kind) if part)


def _shown(line: CardLine, card: Card, colour: bool) -> str:
    """A line's text; without colour, what is pruned of a card that is left gets a mark."""
    if colour or card.pruned or not any(other.pruned for other in card.lines):
        return line.text
    return f"{'✗' if line.pruned else ' '} {line.text}"


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
