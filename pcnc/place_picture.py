"""Gives every card and arrow of a picture its place, in whole units of whatever it is drawn with (pixels, characters)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pcnc.layer_picture import Joint, Layering, Node, is_rail, layer
from pcnc.picture import VERDICTS, Arrow, Card, Picture

STRAIGHT = 1e6
"""How much more a card's straight line to the one before it counts than the line of an arrow that passes by."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """How large things are. Arrows meet a card `port` below its top and leave it there or at steps of `port_step` further down."""

    size: Callable[[Card], tuple[int, int]]
    """Width and height of a card, without regard to its ports."""
    label: Callable[[str], int]
    """The room that an arrow's label takes between layers."""
    port: int
    port_step: int
    foot: int
    """The least distance from a card's lowest port to its bottom."""
    gap: int
    """The least distance between layers."""
    track: int
    """What each node of the next layer adds to that distance, where ways bend at right angles and need a track each."""
    between_cards: int
    between_lines: int
    """The least distance of a line to another, or to a card."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a card lies: its upper left corner and its size."""

    card: Card
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where an arrow runs: level stretches (from x, to x, y) through the layers, from its origin's port to its target's."""

    arrow: Arrow
    stretches: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """A picture whose every part has its place; the upper left corner is 0, 0."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The width of each layer, and of the gap behind each."""

    widths: tuple[int, ...]
    gaps: tuple[int, ...]

    def widest(self, other: Columns) -> Columns:
        """Columns that both pictures fit into, so that they can stand under each other; these, where their numbers differ."""
        if len(self.widths) != len(other.widths):
            return self
        return Columns(tuple(map(max, self.widths, other.widths)), tuple(map(max, self.gaps, other.gaps)))


class Placer:
    """Places one picture; `columns` may be widened before `place`."""

    def __init__(self, picture: Picture, metrics: Metrics) -> None:
        self._picture = picture
        self._metrics = metrics
        self._layering: Layering = layer(picture)
        self._ports = {
            card.name: tuple(dict.fromkeys(arrow.label for arrow in picture.arrows if arrow.origin == card.name))
            for card in picture.cards
        }
        self._sizes = {card.name: self._size(card) for card in picture.cards}
        self.columns = self._columns()

    def _size(self, card: Card) -> tuple[int, int]:
        metrics = self._metrics
        width, height = metrics.size(card)
        ports = max(1, len(self._ports[card.name]))
        return width, max(height, metrics.port + (ports - 1) * metrics.port_step + metrics.foot)

    def _columns(self) -> Columns:
        widths, gaps = [], []
        for nodes, following in zip(self._layering.layers, (*self._layering.layers[1:], ()), strict=True):
            names = [node for node in nodes if isinstance(node, str)]
            labels = [arrow.shown_label for arrow in self._picture.arrows if arrow.origin in names]
            widths.append(max((self._sizes[name][0] for name in names), default=0))
            gaps.append(max([self._metrics.gap, *map(self._metrics.label, labels)]) + len(following) * self._metrics.track)
        return Columns(tuple(widths), tuple(gaps))

    def place(self) -> Placement:
        """Every card's box and every arrow's route."""
        lines = self._lines()
        left: list[int] = [0]
        for width, gap in zip(self.columns.widths, self.columns.gaps, strict=True):
            left.append(left[-1] + width + gap)
        boxes = {}
        for index, nodes in enumerate(self._layering.layers):
            for node in nodes:
                if isinstance(node, str):
                    card = self._picture.card(node)
                    width = self._sizes[node][0] if card.kind in ("entry", "verdict") else self.columns.widths[index]
                    boxes[node] = Box(card, left[index], lines[node] - self._metrics.port, width, self._sizes[node][1])
        top = min([box.y for box in boxes.values()] + list(lines.values()))
        routes = tuple(self._route(arrow, boxes, lines, left, top) for arrow in self._picture.arrows)
        raised = tuple(Box(box.card, box.x, box.y - top, box.width, box.height) for box in boxes.values())
        bottom = max(box.y + box.height for box in raised)
        return Placement(left[-1] - self.columns.gaps[-1], bottom, raised, routes)

    def _route(self, arrow: Arrow, boxes: Mapping[str, Box], lines: Mapping[Node, int], left: Sequence[int], top: int) -> Route:
        origin = boxes[arrow.origin]
        start = origin.x + origin.width
        y = origin.y + self._metrics.port + self._port(arrow, lines) * self._metrics.port_step
        stretches = [(start, self._right_of(arrow.origin, left), y - top)]
        for node in self._layering.path(arrow)[1:-1]:
            assert isinstance(node, Joint)
            stretches.append((left[node.layer], left[node.layer] + self.columns.widths[node.layer], lines[node] - top))
        end = left[self._layering.layer_of(arrow.target)]
        stretches.append((end, end, lines[arrow.target] - top))
        return Route(arrow, tuple(stretches))

    def _right_of(self, name: str, left: Sequence[int]) -> int:
        index = self._layering.layer_of(name)
        return left[index] + self.columns.widths[index]

    def _port(self, arrow: Arrow, lines: Mapping[Node, int]) -> int:
        """Which port from the top: a label's ways leave together, and the label that leads highest leaves highest."""
        heights: dict[str, list[int]] = {}
        for other in self._picture.arrows:
            if other.origin == arrow.origin:
                heights.setdefault(other.label, []).append(lines[self._layering.path(other)[1]])
        order = sorted(heights, key=lambda label: (max(heights[label]), self._ports[arrow.origin].index(label)))
        return order.index(arrow.label)

    def _lines(self) -> dict[Node, int]:
        """The height at which arrows meet each node, y growing downwards; a layer at a time, from left to right."""
        before: dict[Node, list[Node]] = {}
        after: dict[Node, list[Node]] = {}
        for origin, target in self._layering.steps(self._picture.arrows):
            before.setdefault(target, []).append(origin)
            after.setdefault(origin, []).append(target)
        lines: dict[Node, int] = {}
        for nodes in self._layering.layers:
            row = [node for node in nodes if not is_rail(node)]
            wanted, weights = [], []
            for node in row:
                line, straight = self._wish(node, before.get(node, []), after, lines, row)
                wanted.append(line)
                weights.append(STRAIGHT if straight else 1.0)
            lines.update(zip(row, self._spread(row, wanted, weights), strict=True))
        self._lay_rails(lines)
        return lines

    def _wish(
        self,
        node: Node,
        before: Sequence[Node],
        after: Mapping[Node, Sequence[Node]],
        lines: Mapping[Node, int],
        row: Sequence[Node],
    ) -> tuple[float, bool]:
        """Where a node would like to be, and whether it should be there exactly: straight behind the card before it."""
        cards = [other for other in before if isinstance(other, str)]
        beside = cards if cards and isinstance(node, str) else list(before)
        if not beside:
            return 0.0, True
        first = next((other for other in row if isinstance(other, str) and other in after[beside[0]]), None)
        return sum(lines[other] for other in beside) / len(beside), node == first

    def _above(self, node: Node) -> int:
        return self._metrics.between_lines if isinstance(node, Joint) else self._metrics.port

    def _below(self, node: Node) -> int:
        return self._metrics.between_lines if isinstance(node, Joint) else self._sizes[node][1] - self._metrics.port

    def _apart(self, upper: Node, lower: Node) -> int:
        gap = self._metrics.between_cards if isinstance(upper, str) and isinstance(lower, str) else 0
        return self._below(upper) + gap + self._above(lower)

    def _spread(self, row: Sequence[Node], wanted: Sequence[float], weights: Sequence[float]) -> list[int]:
        """As close to the wishes as the order and the distances allow: least squares, by pooling neighbours that collide."""
        offsets = [0]
        for upper, lower in pairwise(row):
            offsets.append(offsets[-1] + self._apart(upper, lower))
        pools: list[tuple[float, float, int]] = []
        for wish, weight, offset in zip(wanted, weights, offsets, strict=False):
            mean, total, count = wish - offset, weight, 1
            while pools and pools[-1][0] > mean:
                other, others, more = pools.pop()
                mean = (mean * total + other * others) / (total + others)
                total, count = total + others, count + more
            pools.append((mean, total, count))
        means = [mean for mean, _, count in pools for _ in range(count)]
        return [round(mean) + offset for mean, offset in zip(means, offsets, strict=False)]

    def _lay_rails(self, lines: dict[Node, int]) -> None:
        """The ways to the other verdicts run below everything that stands in their layers."""
        for verdict in VERDICTS[1:]:
            layers = [nodes for nodes in self._layering.layers if any(_leads_to(node, verdict) for node in nodes)]
            # The verdict itself takes more room than the line that leads to it.
            above = [
                lines[node] + self._below(node) + (self._metrics.port if verdict in nodes else 0)
                for nodes in layers
                for node in nodes
                if node in lines
            ]
            for nodes in layers:
                for node in nodes:
                    if _leads_to(node, verdict):
                        lines[node] = max(above, default=0) + self._metrics.between_lines


def _leads_to(node: Node, verdict: str) -> bool:
    return node == verdict or (isinstance(node, Joint) and node.target == verdict)
