"""Draws a picture in characters for a terminal: from left to right where that fits into its width, else from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pcnc.layer_picture import is_rail
from pcnc.picture import Arrow, Card, Picture
from pcnc.place_picture import Metrics, Placement, Placer, Route
from pcnc.text_canvas import Canvas, Style
from pcnc.text_cards import PORT, card_height, card_width, cut, draw_card, is_plain

NARROWEST, NARROWEST_CARD = 40, 24
"""Columns below which nothing gets narrower, and no card."""
INDENT = 4
"""How far a pruned card stands aside from the way that leads past it."""


def draw_text(picture: Picture, width: int, colour: bool, ascii_only: bool = False) -> str:
    """The picture in at most `width` columns (but 40 at least), with ANSI colours or without; `ascii_only` for dumb terminals.

    Only ways that packets can still take are drawn. Pruned cards have dotted frames; pruned lines of other cards are dim, or
    marked `✗` where there is no colour.
    """
    canvas = Canvas()
    canvas.put(0, 0, picture.title, "bold")
    canvas.put(0, 1, picture.subtitle, "dim")
    metrics = Metrics(
        size=lambda card: (card_width(card, colour), card_height(card)),
        label=lambda label: len(label) + 5 if label else 0,
        port=PORT,
        port_step=1,
        foot=2,
        gap=3,
        track=1,
        between_cards=1,
        between_lines=1,
    )
    placement = Placer(picture, metrics).place()
    if placement.width <= width:
        bottom = _draw_rightwards(canvas, placement, colour)
    else:
        bottom = _draw_downwards(canvas, picture, max(width, NARROWEST), colour)
    if not colour and any(card.pruned or any(line.pruned for line in card.lines) for card in picture.cards):
        canvas.put(0, bottom + 1, "┄ and ✗: pruned, not in the running program", "dim")
    return canvas.show(colour, ascii_only)


def _arrow_style(arrow: Arrow) -> Style:
    return "drop" if arrow.target == "drop" else "pass" if arrow.target == "pass" else ""


def _draw_rightwards(canvas: Canvas, placement: Placement, colour: bool) -> int:
    top = 3
    for box in placement.boxes:
        draw_card(canvas, box.card, box.x, box.y + top, box.width, box.height, colour)
    live = [route for route in placement.routes if not route.arrow.pruned]
    framed = {box.card.name for box in placement.boxes if not is_plain(box.card)}
    tracks = _tracks(live)
    for route in live:
        _draw_route(canvas, route, tracks, top)
    for route in live:
        start, _, y = route.stretches[0]
        if route.arrow.origin in framed:
            canvas.put(start - 1, y + top, "├")
        if route.arrow.shown_label:
            canvas.put(start + 1, y + top, route.arrow.shown_label, _arrow_style(route.arrow))
        end, _, y = route.stretches[-1]
        canvas.put(end - 1, y + top, "▶", _arrow_style(route.arrow))
    return top + placement.height


def _tracks(routes: Sequence[Route]) -> dict[tuple[int, int], int]:
    """Where a way's upright part lies, by the x and y that it leads to; all that lead there share it, the longest is leftmost."""
    reach: dict[tuple[int, int], int] = {}
    for route in routes:
        for (_, _, y), (left, _, lower) in pairwise(route.stretches):
            if y != lower:
                reach[left, lower] = max(reach.get((left, lower), 0), abs(lower - y))
    tracks = {}
    for left in {left for left, _ in reach}:
        ends = sorted((y for x, y in reach if x == left), key=lambda y: (reach[left, y], -y))
        for index, y in enumerate(ends):
            tracks[left, y] = left - 3 - index
    return tracks


def _draw_route(canvas: Canvas, route: Route, tracks: dict[tuple[int, int], int], top: int) -> None:
    style = _arrow_style(route.arrow)
    start, right, y = route.stretches[0]
    canvas.level(start, right, y + top, style)
    for (_, right, y), (left, end, lower) in pairwise(route.stretches):
        if y == lower:
            canvas.level(right - 1, left, y + top, style)
        else:
            track = tracks[left, lower]
            canvas.level(right - 1, track, y + top, style)
            canvas.upright(track, y + top, lower + top, style)
            canvas.level(track, left, lower + top, style)
        canvas.level(left, end, lower + top, style)


def _draw_downwards(canvas: Canvas, picture: Picture, width: int, colour: bool) -> int:
    """Cards under each other. The way to the next one is a line, every other way an arrow to the right with the name of its end."""
    cards = [card for card in picture.cards if not is_rail(card.name)]
    live = [arrow for arrow in picture.arrows if not arrow.pruned]
    ways = {card.name: _exits(card, cards, live) for card in cards}
    room = max((len(text) for texts in ways.values() for text, _ in texts), default=0)
    widest = max(card_width(card, colour) + (INDENT if card.pruned else 0) for card in cards)
    frame = max(min(widest, width - room), NARROWEST_CARD)
    y, line_from = 3, None
    for card in cards:
        if card.pruned:
            height = max(card_height(card), 2)
            draw_card(canvas, card, INDENT, y, frame - INDENT, height, colour)
            y += height
            continue
        if line_from is not None:
            canvas.upright(1, line_from, y)
            canvas.put(1, y, "▼")
            y += 1
        elif origins := _names_of_origins(card, live):
            canvas.put(1, y, f"▼ from {origins}", "dim")
            y += 1
        exits = [(cut(text, width - frame), style) for text, style in ways[card.name]]
        y = _draw_below(canvas, card, exits, y, frame, colour)
        way = _way_on(card, cards, live)
        line_from = None if way is None else y
        if way is not None and way.shown_label:
            canvas.put(3, y, way.shown_label)
            y += 1
    for card in picture.cards:
        if is_rail(card.name) and card.note:
            y = _draw_below(canvas, card, (), y, frame, colour)
    return y


def _draw_below(canvas: Canvas, card: Card, exits: Sequence[tuple[str, Style]], y: int, frame: int, colour: bool) -> int:
    if is_plain(card):
        draw_card(canvas, card, 0, y - PORT, frame, 3, colour)
        return y + 1
    height = max(card_height(card), len(exits) + 2)
    draw_card(canvas, card, 0, y, frame, height, colour)
    for index, (text, style) in enumerate(exits):
        canvas.put(frame - 1, y + 1 + index, "├")
        canvas.put(frame, y + 1 + index, text, style)
    return y + height


def _way_on(card: Card, cards: Sequence[Card], live: Sequence[Arrow]) -> Arrow | None:
    """The way to the next card that is left, if there is one from this card."""
    following = next((other.name for other in cards[cards.index(card) + 1 :] if not other.pruned), None)
    return next((arrow for arrow in live if arrow.origin == card.name and arrow.target == following), None)


def _exits(card: Card, cards: Sequence[Card], live: Sequence[Arrow]) -> list[tuple[str, Style]]:
    on = _way_on(card, cards, live)
    ways = [arrow for arrow in live if arrow.origin == card.name and arrow != on]
    return [
        (f"─{arrow.shown_label}─▶ {arrow.target}" if arrow.shown_label else f"──▶ {arrow.target}", _arrow_style(arrow))
        for arrow in ways
    ]


def _names_of_origins(card: Card, live: Sequence[Arrow]) -> str:
    origins = [arrow for arrow in live if arrow.target == card.name]
    return ", ".join(f"{arrow.origin} ({arrow.label})" if arrow.shown_label else arrow.origin for arrow in origins)
