"""Sorts a picture's cards into layers from left to right, and each layer from top to bottom (after Sugiyama, 1981)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pcnc.picture import VERDICTS, Arrow, Picture

SWEEPS = 6
"""How often the layers are sorted from left to right and back; a chain's few branches settle after two."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Where the arrows to one card pass through a layer between their ends: those that end together run together."""

    target: str
    layer: int


Node = str | Joint
"""A card, by name, or a joint."""


@dataclass(frozen=True, slots=True)
class Layering:
    """The layers of a picture, left to right, each from top to bottom."""

    layers: tuple[tuple[Node, ...], ...]

    def layer_of(self, name: str) -> int:
        """The layer of a card; KeyError if there is none of that name."""
        for index, layer in enumerate(self.layers):
            if name in layer:
                return index
        raise KeyError(name)

    def path(self, arrow: Arrow) -> tuple[Node, ...]:
        """What an arrow passes, both ends included."""
        first, last = self.layer_of(arrow.origin), self.layer_of(arrow.target)
        return (arrow.origin, *(Joint(arrow.target, layer) for layer in range(first + 1, last)), arrow.target)

    def steps(self, arrows: Sequence[Arrow]) -> Iterator[tuple[Node, Node]]:
        """From which node to which in the next layer the arrows lead, each pair once."""
        seen = {step: None for arrow in arrows for step in pairwise(self.path(arrow))}
        yield from seen


def is_rail(node: Node) -> bool:
    """Whether a node is, or leads to, a verdict that ends the way from anywhere: these run along the bottom."""
    return _rank(node) > 0


def _rank(node: Node) -> int:
    name = node.target if isinstance(node, Joint) else node
    return VERDICTS.index(name) if name in VERDICTS else 0


def layer(picture: Picture) -> Layering:
    """The layering of a picture: each card right of all that lead to it, verdicts rightmost, few crossings."""
    depth = _longest_paths(picture)
    last = max(depth.values())
    rows: list[list[Node]] = [[] for _ in range(last + 1)]
    for node in _visits(picture, depth):
        rows[_depth_of(node, depth)].append(node)
    for row in rows:
        row.sort(key=_rank)
    return _with_few_crossings(rows, picture.arrows)


def _visits(picture: Picture, depth: Mapping[str, int]) -> Iterator[Node]:
    """The nodes in the order in which they are to stand, those of one layer from top to bottom: depth first, the longer way first.

    So a way around a card runs above it, and what `then` leads to stands above what `else` leads to.
    """
    ahead: list[Node] = [card.name for card in reversed(picture.cards)]
    seen: set[Node] = set()
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if isinstance(node, Joint):
            after = node.layer + 1
            ahead.append(node.target if depth[node.target] == after else Joint(node.target, after))
        else:
            targets = [arrow.target for arrow in picture.arrows if arrow.origin == node]
            for _, target in sorted(enumerate(targets), key=lambda pair: (depth[pair[1]], -pair[0])):
                after = depth[node] + 1
                ahead.append(target if depth[target] == after else Joint(target, after))


def _depth_of(node: Node, depth: Mapping[str, int]) -> int:
    return node.layer if isinstance(node, Joint) else depth[node]


def _longest_paths(picture: Picture) -> dict[str, int]:
    depth = {card.name: 0 for card in picture.cards}
    for _ in picture.cards:
        before = dict(depth)
        for arrow in picture.arrows:
            depth[arrow.target] = max(depth[arrow.target], depth[arrow.origin] + 1)
        if depth == before:
            break
    else:
        raise ValueError("the picture has a cycle")
    last = max([1 + max(d for name, d in depth.items() if name not in VERDICTS), *depth.values()])
    return {name: last if name in VERDICTS else at for name, at in depth.items()}


def _with_few_crossings(rows: list[list[Node]], arrows: Sequence[Arrow]) -> Layering:
    best = Layering(tuple(map(tuple, rows)))
    # Ways to the rails cross others from wherever they begin; the rest shall not be bent for them.
    steps = tuple(step for step in best.steps(arrows) if not is_rail(step[1]))
    fewest = _crossings(best, steps)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        order = range(1, len(rows)) if forward else range(len(rows) - 2, -1, -1)
        for index in order:
            beside = {node: place for place, node in enumerate(rows[index - 1 if forward else index + 1])}
            rows[index] = _sorted_by_neighbours(rows[index], beside, steps, forward)
        candidate = Layering(tuple(map(tuple, rows)))
        crossings = _crossings(candidate, steps)
        if crossings < fewest:
            best, fewest = candidate, crossings
    return best


def _sorted_by_neighbours(
    row: list[Node], beside: dict[Node, int], steps: Sequence[tuple[Node, Node]], forward: bool
) -> list[Node]:
    """Each node where, on average, its neighbours in the layer beside are; those without any keep their place."""
    wanted: dict[Node, float] = {}
    for place, node in enumerate(row):
        pairs = [(origin, target) if forward else (target, origin) for origin, target in steps]
        places = [beside[neighbour] for neighbour, other in pairs if other == node and neighbour in beside]
        wanted[node] = sum(places) / len(places) if places else place
    return sorted(row, key=lambda node: (_rank(node), wanted[node]))


def _crossings(layering: Layering, steps: Sequence[tuple[Node, Node]]) -> int:
    place = {node: (index, at) for index, layer in enumerate(layering.layers) for at, node in enumerate(layer)}
    count = 0
    for index, (origin, target) in enumerate(steps):
        for other, end in steps[index + 1 :]:
            if place[origin][0] == place[other][0]:
                count += (place[origin][1] - place[other][1]) * (place[target][1] - place[end][1]) < 0
    return count
