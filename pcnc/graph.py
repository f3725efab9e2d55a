"""The pipeline graph: blocks as nodes, ways between them as edges. networkx lives behind this one class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcnc.blocks import Block, BranchBlock, Needs, ParseBlock, TableBlock, VerdictBlock, block_needs, block_verdicts
from pcnc.parse_graph import Headers
from pcnc.program import Service
from pcnc.program_words import ChainName

if TYPE_CHECKING:
    import networkx

MAX_PROGRAMS_ON_A_PATH = 30
"""Linux ends a chain of tail calls after 33, over all programs that a packet meets at a hook (MAX_TAIL_CALL_CNT)."""


class GraphError(Exception):
    """A pass has broken the graph: always a bug of the compiler."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one block to another. Labels: `next`, `then`, `else`, `drop`, `pass`, `malformed`."""

    origin: str
    target: str
    label: str


class Pipeline:
    """The blocks of one chain and the ways between them. Immutable: a pass makes a new one with `replace`.

    Blocks stand in an order in which every way leads forward, which makes it plain that there is no cycle. `digraph` gives
    the same to networkx, whose import takes longer than all passes together: only what needs its algorithms or formats asks.
    """

    def __init__(
        self, service: Service, headers: Headers, chain: ChainName, blocks: Mapping[str, Block], edges: tuple[Edge, ...], entry: str
    ) -> None:
        self.service = service
        self.headers = headers
        self.chain = chain
        self.blocks: dict[str, Block] = dict(blocks)
        self.edges = edges
        self.entry = entry

    def replace(self, blocks: Mapping[str, Block], edges: tuple[Edge, ...], entry: str) -> Pipeline:
        """The same chain with other blocks."""
        return Pipeline(self.service, self.headers, self.chain, blocks, edges, entry)

    def digraph(self) -> networkx.MultiDiGraph[str]:
        """The graph for networkx: nodes carry `block`, edges are keyed by their label."""
        import networkx

        graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
        for name, block in self.blocks.items():
            graph.add_node(name, block=block)
        for edge in self.edges:
            graph.add_edge(edge.origin, edge.target, key=edge.label)
        return graph

    def successor(self, name: str, label: str = "next") -> str | None:
        """Where a label leads from a block, or None where the block has no such way."""
        for edge in self.edges:
            if edge.origin == name and edge.label == label:
                return edge.target
        return None

    def programs(self) -> Iterator[Block]:
        """The blocks that become programs, in an order in which no packet ever goes back."""
        return (block for block in self.blocks.values() if not isinstance(block, VerdictBlock))

    def parse_block(self) -> ParseBlock | None:
        """The parser, or None where nothing is parsed."""
        for block in self.blocks.values():
            if isinstance(block, ParseBlock):
                return block
        return None

    def needs(self) -> Needs:
        """What all blocks together ask of the parser."""
        needs = Needs()
        for block in self.blocks.values():
            needs |= block_needs(block, self.service, self.headers)
        return needs

    def tables(self) -> tuple[TableBlock, ...]:
        """The blocks that look something up."""
        return tuple(block for block in self.blocks.values() if isinstance(block, TableBlock))

    def longest_path(self) -> int:
        """The most programs that one packet can run."""
        length: dict[str, int] = {}
        for name, block in reversed(self.blocks.items()):
            ahead = max((length[edge.target] for edge in self.edges if edge.origin == name), default=0)
            length[name] = ahead + (not isinstance(block, VerdictBlock))
        return max(length.values())

    def check(self) -> None:
        """Raises GraphError unless the graph is one that `emit` can take: run after each pass."""
        order = {name: index for index, name in enumerate(self.blocks)}
        if self.entry not in order:
            raise GraphError(f"the entry {self.entry} is no block")
        for edge in self.edges:
            if edge.origin not in order or edge.target not in order:
                raise GraphError(f"the way from {edge.origin} to {edge.target} leads to or from a block that does not exist")
            if order[edge.origin] >= order[edge.target]:
                raise GraphError(f"the way from {edge.origin} leads back to {edge.target}")
        for name, block in self.blocks.items():
            if block.name != name:
                raise GraphError(f"block {block.name} is listed as {name}")
            labels = [edge.label for edge in self.edges if edge.origin == name]
            if len(labels) != len(set(labels)):
                raise GraphError(f"{name} has two ways of the same label")
            if set(labels) != expected_labels(block, self.service):
                raise GraphError(f"{name} has the ways {sorted(labels)}, not {sorted(expected_labels(block, self.service))}")
        parse = self.parse_block()
        asked = self.needs()
        if parse is None:
            if asked.headers or asked.metas:
                raise GraphError("blocks need a parser, and there is none")
        elif not asked.fields <= parse.needs.fields or not asked.headers <= parse.needs.headers:
            raise GraphError("blocks need what the parser does not extract")


def expected_labels(block: Block, service: Service) -> set[str]:
    """The labels of the ways that lead out of a block."""
    match block:
        case VerdictBlock():
            return set()
        case ParseBlock():
            return {"next", "malformed"}
        case BranchBlock():
            return {"then", "else"}
        case _:
            return set(block_verdicts(block, service))
