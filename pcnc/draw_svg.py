"""Draws pictures as SVG: one file without script, fonts or links, on a background of its own, the same bytes each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil
from xml.sax.saxutils import escape, quoteattr

from pcnc.picture import Arrow, Card, Picture
from pcnc.place_picture import Metrics, Placement, Placer, Route
from pcnc.svg_cards import (
    GREY_CARD,
    GREY_INK,
    GREY_LINE,
    INK,
    KIND_COLOURS,
    NOTE_SIZE,
    PAPER,
    PORT,
    VERDICT_COLOURS,
    card_size,
    draw_card,
    text,
)
from pcnc.text_width import MONO, SANS, sans_width

LABEL_SIZE, TITLE_SIZE, SUBTITLE_SIZE = 13.0, 25.0, 15.5
MARGIN, HEADING, BETWEEN_PICTURES, LEGEND = 36, 70, 44, 54
ARROW_HEAD, LABEL_INDENT = 10, 9
STYLE = f"<style>text{{font-family:{SANS}}}.mono{{font-family:{MONO}}}</style>"


def draw_svg(pictures: Picture | Sequence[Picture]) -> str:
    """The SVG of a picture, or of several under each other, with a legend below."""
    stacked = (pictures,) if isinstance(pictures, Picture) else tuple(pictures)
    placers = [Placer(picture, METRICS) for picture in stacked]
    for placer in placers:
        for other in placers:
            placer.columns = placer.columns.widest(other.columns)
    placements = [placer.place() for placer in placers]
    legend, legend_width = _legend(stacked)
    widths = [placement.width for placement in placements]
    headings = [
        max(sans_width(picture.title, TITLE_SIZE, True), sans_width(picture.subtitle, SUBTITLE_SIZE)) for picture in stacked
    ]
    width = ceil(max([*widths, *headings, legend_width])) + 2 * MARGIN
    elements, y = [], MARGIN
    for picture, placement in zip(stacked, placements, strict=True):
        elements += _draw(picture, placement, y)
        y += HEADING + placement.height + BETWEEN_PICTURES
    y += LEGEND - BETWEEN_PICTURES
    elements += [f'<g class="legend" transform="translate({MARGIN} {y - 8})">', *legend, "</g>"]
    height = y + MARGIN - 8
    titles = "; ".join(f"{picture.title}: {picture.subtitle}" for picture in stacked)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
    )
    background = f'<rect width="{width}" height="{height}" rx="14" fill="{PAPER}"/>'
    return "\n".join([opening, f"<title>{escape(titles)}</title>", STYLE, background, *elements, "</svg>", ""])


def draw_svg_pair(before: Picture, after: Picture) -> str:
    """The SVG of the same chain before and after a change, one under the other, blocks in line."""
    return draw_svg([replace(before, title=f"{before.title} · before"), replace(after, title=f"{after.title} · after")])


def _label_width(label: str) -> int:
    return ceil(sans_width(label, LABEL_SIZE)) + 58 if label else 0


METRICS = Metrics(
    size=card_size, label=_label_width, port=PORT, port_step=28, foot=PORT, gap=50, track=0, between_cards=34, between_lines=18
)


def _draw(picture: Picture, placement: Placement, y: int) -> list[str]:
    elements = [
        text(MARGIN, y + 22, picture.title, TITLE_SIZE, INK, bold=True),
        text(MARGIN, y + 45, picture.subtitle, SUBTITLE_SIZE, "#5d6673"),
        f'<g class="picture" transform="translate({MARGIN} {y + HEADING})">',
    ]
    # Live arrows lie over pruned ones where both run along the same line, and labels over both.
    routes = sorted(placement.routes, key=lambda route: not route.arrow.pruned)
    for route in routes:
        elements += _arrow(route)
    for box in placement.boxes:
        elements += draw_card(box)
    elements += [_label(route) for route in routes if _is_labelled(route, placement.routes)]
    return [*elements, "</g>"]


def _colour(arrow: Arrow) -> str:
    if arrow.pruned:
        return GREY_LINE
    return VERDICT_COLOURS.get(arrow.target, "#4a5463") if arrow.target != "next" else "#4a5463"


def _arrow(route: Route) -> list[str]:
    """A curve in each gap between layers, a level line through each layer, and a head where it ends."""
    arrow = route.arrow
    x, y = route.stretches[0][0], route.stretches[0][2]
    commands = [f"M{x} {y}"]
    for index, ((_, right, height), (left, _, lower)) in enumerate(pairwise(route.stretches)):
        end = left - ARROW_HEAD + 2 if index == len(route.stretches) - 2 else left
        if index == 0 and arrow.shown_label:
            # The label stands on a level piece; the curve begins behind it.
            right += LABEL_INDENT + ceil(sans_width(arrow.shown_label, LABEL_SIZE))
        commands.append(f"H{right}")
        if height == lower:
            commands.append(f"H{end}")
        else:
            bend = round((end - right) * 0.55)
            commands.append(f"C{right + bend} {height} {end - bend} {lower} {end} {lower}")
    tip, level = route.stretches[-1][0], route.stretches[-1][2]
    colour, state = _colour(arrow), "pruned" if arrow.pruned else "live"
    look = 'stroke-width="1.6" stroke-dasharray="5 4"' if arrow.pruned else 'stroke-width="2.4"'
    ends = f"data-origin={quoteattr(arrow.origin)} data-target={quoteattr(arrow.target)}"
    return [
        f'<path class="arrow {state}" {ends} d="{"".join(commands)}" fill="none" stroke="{colour}" {look}/>',
        f'<path d="M{tip} {level}l-{ARROW_HEAD} -5v10z" fill="{colour}"/>',
    ]


def _is_labelled(route: Route, routes: Sequence[Route]) -> bool:
    """A label that several ways share (around a pruned card and through it) is written once, by the live one."""
    arrow = route.arrow
    same = [other.arrow for other in routes if (other.arrow.origin, other.arrow.label) == (arrow.origin, arrow.label)]
    return bool(arrow.shown_label) and not (arrow.pruned and any(not other.pruned for other in same))


def _label(route: Route) -> str:
    x, y = route.stretches[0][1] + LABEL_INDENT, route.stretches[0][2] - 7
    label = text(x, y, route.arrow.shown_label, LABEL_SIZE, GREY_INK if route.arrow.pruned else _colour(route.arrow))
    return label.replace("<text ", f'<text class="label" stroke="{PAPER}" stroke-width="4" paint-order="stroke" ', 1)


def _legend(pictures: Sequence[Picture]) -> tuple[list[str], int]:
    """What the colours stand for, as far as they occur; and how wide that is."""
    cards: list[Card] = [card for picture in pictures for card in picture.cards]
    live = {card.kind for card in cards if not card.pruned}
    elements: list[str] = []
    x = 0
    for kind, colour in KIND_COLOURS.items():
        if kind in live and kind not in ("entry", "verdict"):
            elements += [f'<rect x="{x}" y="-11" width="18" height="12" rx="3" fill="{colour}"/>', _legend_text(x + 26, kind)]
            x += 26 + _legend_width(kind)
    if any(arrow.pruned for picture in pictures for arrow in picture.arrows) or any(card.pruned for card in cards):
        elements += [
            f'<rect x="{x + 1}" y="-11" width="18" height="12" rx="3" fill="{GREY_CARD}" stroke="{GREY_LINE}" '
            'stroke-width="1.4" stroke-dasharray="4 3"/>',
            _legend_text(x + 27, "pruned: not in the running program"),
        ]
        x += 27 + _legend_width("pruned: not in the running program")
    return elements, x


def _legend_text(x: int, content: str) -> str:
    return text(x, 0, content, NOTE_SIZE + 0.5, "#5d6673")


def _legend_width(content: str) -> int:
    return ceil(sans_width(content, NOTE_SIZE + 0.5)) + 26
