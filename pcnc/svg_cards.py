"""Cards and pills of a picture in SVG: how large they are, and what they look like."""

from __future__ import annotations

from math import ceil
from xml.sax.saxutils import escape, quoteattr

from pcnc.picture import Card, CardKind, CardLine
from pcnc.place_picture import Box
from pcnc.text_width import mono_width, sans_width

INK, PAPER, CARD, BORDER = "#2b323c", "#fbfbf9", "#ffffff", "#c8cdd5"
GREY_INK, GREY_LINE, GREY_HEAD, GREY_CARD = "#8d949e", "#aeb4bd", "#eceef0", "#f7f7f6"
KIND_COLOURS: dict[CardKind, str] = {
    "entry": "#3d4756",
    "parser": "#4656a6",
    "table": "#0b7a80",
    "stage": "#7b4b9c",
    "branch": "#a86400",
    "verdict": "#3d4756",
}
VERDICT_COLOURS = {"next": "#2b8253", "pass": "#2b6cb0", "drop": "#bf4036"}

PORT = 25
"""Pixels from a card's top to where arrows meet it: the middle of its head."""
HEAD = 2 * PORT
PILL = 2 * 19
NAME_SIZE, LINE_SIZE, NOTE_SIZE, PILL_SIZE = 17.0, 14.5, 12.5, 16.0
LINE_HEIGHT, PADDING, GROUP_GAP, COLUMN_GAP = 22, 14, 9, 24
MOST_LINES = 12
"""Lines in one column of a card."""


def colour_of(card: Card) -> str:
    """The colour that tells a card's kind, or which verdict it is."""
    if card.pruned:
        return GREY_LINE
    return VERDICT_COLOURS[card.name] if card.kind == "verdict" else KIND_COLOURS[card.kind]


def is_pill(card: Card) -> bool:
    """Whether a card is drawn as a pill: no block, but where packets come from or end."""
    return card.kind in ("entry", "verdict")


def card_size(card: Card) -> tuple[int, int]:
    """Width and height of a card in pixels."""
    if is_pill(card):
        note = sans_width(card.note, NOTE_SIZE) + 10 if card.note else 0
        return ceil(sans_width(card.name, PILL_SIZE, True) + note) + 36, HEAD
    columns = _columns(card)
    body = sum(_column_width(column) for column in columns) + COLUMN_GAP * max(0, len(columns) - 1)
    head = max(mono_width(card.name, NAME_SIZE), sans_width(_facts(card), NOTE_SIZE))
    height = max((_column_height(column) for column in columns), default=0)
    return ceil(max(body, head)) + 2 * PADDING, HEAD + (height + 14 if height else 0)


def _facts(card: Card) -> str:
    return " · ".join(part for part in (card.shown_kind, card.note, "pruned" if card.pruned else "") if part)


def _columns(card: Card) -> list[tuple[CardLine, ...]]:
    """The lines in columns of about the same length."""
    if not card.lines:
        return []
    length = ceil(len(card.lines) / ceil(len(card.lines) / MOST_LINES))
    return [card.lines[start : start + length] for start in range(0, len(card.lines), length)]


def _column_width(lines: tuple[CardLine, ...]) -> float:
    return max(mono_width(line.text, LINE_SIZE) + (sans_width(line.note, NOTE_SIZE) + 14 if line.note else 0) for line in lines)


def _column_height(lines: tuple[CardLine, ...]) -> int:
    return len(lines) * LINE_HEIGHT + sum(GROUP_GAP for line in lines[1:] if line.begins_group)


def text(
    x: float,
    y: float,
    content: str,
    size: float,
    fill: str,
    *,
    mono: bool = False,
    bold: bool = False,
    struck: bool = False,
    anchor: str = "start",
) -> str:
    """A line of text; `x` is its left end, middle or right end, as `anchor` says, `y` its base line."""
    attributes = f'x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}"'
    if mono:
        attributes = f'class="mono" {attributes}'
    if bold:
        attributes += ' font-weight="700"'
    if struck:
        attributes += ' text-decoration="line-through"'
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f"<text {attributes}>{escape(content)}</text>"


def draw_card(box: Box) -> list[str]:
    """The elements that show a card in its box, in one group."""
    state = "pruned" if box.card.pruned else "live"
    opening = f'<g class="card {box.card.kind} {state}" data-name={quoteattr(box.card.name)}>'
    return [opening, *(_pill(box) if is_pill(box.card) else _block(box)), "</g>"]


def _pill(box: Box) -> list[str]:
    card, top = box.card, box.y + PORT - PILL // 2
    shape = f'<rect x="{box.x}" y="{top}" width="{box.width}" height="{PILL}" rx="{PILL // 2}"'
    base = box.y + PORT + 5.5
    if card.pruned:
        shape += f' fill="{GREY_CARD}" stroke="{GREY_LINE}" stroke-width="1.5" stroke-dasharray="5 4"/>'
        return [shape, text(box.x + 18, base, card.name, PILL_SIZE, GREY_INK, bold=True)]
    elements = [f'{shape} fill="{colour_of(card)}"/>', text(box.x + 18, base, card.name, PILL_SIZE, "#ffffff", bold=True)]
    if card.note:
        elements.append(text(box.x + box.width - 18, base, card.note, NOTE_SIZE, "#ffffff", anchor="end"))
    return elements


def _block(box: Box) -> list[str]:
    card, radius = box.card, 8
    x, y, width, height = box.x, box.y, box.width, box.height
    head_ink = GREY_INK if card.pruned else "#ffffff"
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"'
    dashes = ' stroke-dasharray="5 4"' if card.pruned else ""
    head = (
        f"M{x} {y + HEAD}V{y + radius}a{radius} {radius} 0 0 1 {radius} -{radius}"
        f"H{x + width - radius}a{radius} {radius} 0 0 1 {radius} {radius}V{y + HEAD}Z"
    )
    facts = _facts(card)
    fill = GREY_HEAD if card.pruned else colour_of(card)
    elements = [
        f'{frame} fill="{GREY_CARD if card.pruned else CARD}"/>',
        f'<path d="{head}" fill="{fill}"/>' if height > HEAD else f'{frame} fill="{fill}"/>',
        f'{frame} fill="none" stroke="{GREY_LINE if card.pruned else colour_of(card)}" stroke-width="1.5"{dashes}/>',
        text(x + PADDING, y + (22 if facts else 31), card.name, NAME_SIZE, head_ink, mono=True, bold=True),
    ]
    if facts:
        elements.append(text(x + PADDING, y + 40, facts, NOTE_SIZE, head_ink))
    columns = _columns(card)
    left = float(x + PADDING)
    for index, column in enumerate(columns):
        last = index == len(columns) - 1
        right = x + width - PADDING if last else left + _column_width(column)
        elements += _column(column, left, right, y + HEAD + 7)
        left = right + COLUMN_GAP
    return elements


def _column(lines: tuple[CardLine, ...], left: float, right: float, top: int) -> list[str]:
    elements = []
    for index, line in enumerate(lines):
        if index and line.begins_group:
            middle = top + GROUP_GAP / 2
            elements.append(f'<path d="M{left:g} {middle:g}H{right:g}" stroke="{BORDER}" stroke-width="1"/>')
            top += GROUP_GAP
        ink = GREY_INK if line.pruned else INK
        base = top + 16
        content = line.text.lstrip()
        indent = mono_width(" " * (len(line.text) - len(content)), LINE_SIZE)
        elements.append(text(left + indent, base, content, LINE_SIZE, ink, mono=True, struck=line.pruned))
        if line.note:
            elements.append(text(right, base, line.note, NOTE_SIZE, GREY_INK if line.pruned else "#5d6673", anchor="end"))
        top += LINE_HEIGHT
    return elements
