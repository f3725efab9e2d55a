"""Draws a picture's cards and arrows from a manifest alone: the general variant of a service, and the one that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pcnc.manifest import BlockPlan, ChainPlan, Manifest, TableEntry, Variant
from pcnc.picture import VERDICTS, Card, CardKind, CardLine, Picture, Wiring, assemble, rules_note, table_card
from pcnc.program_words import ChainName


def picture_of_plan(
    manifest: Manifest,
    chain: ChainName,
    whole: Variant,
    live: Variant,
    rules: Mapping[str, int],
    verdicts: Mapping[str, int] | None = None,
    traffic: Mapping[str, str] | None = None,
) -> Picture:
    """The picture of a chain as it runs: what the variant `whole` has and `live` has not is pruned.

    `rules` are the rules by table. Where they are known, `verdicts` are packets by verdict, and `traffic` a few words for the
    foot of a block's card (`1,204 packets`), by block. KeyError if a variant has no such chain.
    """
    before, after = _chain(whole, chain), _chain(live, chain)
    left = {block.name: block for block in after.blocks}
    blocks = {block.name: block for block in (*before.blocks, *after.blocks) if block.kind != "end"}
    for block in before.blocks:
        if block.kind != "end":
            blocks[block.name] = block
    parses = (before.parses, after.parses)
    cards = [
        _with_foot(_card(block, left.get(name), parses, manifest, live, rules), (traffic or {}).get(name, ""))
        for name, block in blocks.items()
    ]
    title = f"{manifest.service} · {chain} · {after.hook}"
    return assemble(title, chain, cards, _wiring(before), _wiring(after), verdicts or {})


def _chain(variant: Variant, name: ChainName) -> ChainPlan:
    for candidate in variant.chains:
        if candidate.chain == name:
            return candidate
    raise KeyError(name)


def _wiring(plan: ChainPlan) -> Wiring:
    """A chain of which nothing is left has one block, of kind `end`, for a verdict: `next` if it has no other's name."""
    first = next(block for block in plan.blocks if block.slot == 0)
    entry = first.name
    if first.kind == "end" and first.name not in VERDICTS:
        entry = "next"
    return Wiring(entry, tuple((edge.origin, edge.target, edge.label) for edge in plan.edges))


def _card(
    block: BlockPlan,
    left: BlockPlan | None,
    parses: tuple[tuple[str, ...], tuple[str, ...]],
    manifest: Manifest,
    live: Variant,
    rules: Mapping[str, int],
) -> Card:
    pruned = left is None
    if block.kind == "parser":
        whole, remaining = parses
        lines = tuple(CardLine(name, name not in remaining, _kind_parsed(name)) for name in whole)
        return Card(block.name, "parser", lines, pruned)
    if block.kind == "table":
        return _table_card(block, left, manifest.table(block.table), live, rules)
    kind: CardKind = "branch" if block.kind == "branch" else "stage"
    note = f"line {block.source_line}" if block.source_line else ""
    return Card(block.name, kind, (CardLine(block.summary, pruned),), pruned, note)


def _kind_parsed(name: str) -> str:
    """`ipv4.src` is a field; `ipv4`, `vlan.inner` and `ipv6_ext.2` are headers of which only the place is known."""
    last = name.rpartition(".")[2]
    return "header" if last == name or (name.count(".") == 1 and (last == "inner" or last.isdigit())) else ""


def _table_card(block: BlockPlan, left: BlockPlan | None, entry: TableEntry, live: Variant, rules: Mapping[str, int]) -> Card:
    shape = live.shape.table(block.table)
    looked_up = left is not None and left.kind == "table"
    schema = entry.schema
    counted = ("packets", entry.count_packets), ("bytes", entry.count_bytes)
    return table_card(
        block.name,
        [(column.name, column.kind, not looked_up or i not in shape.columns) for i, column in enumerate(schema.columns)],
        [
            (_signature(action.name, [p.name for p in action.parameters]), not looked_up or action.name not in shape.actions)
            for action in schema.actions
        ],
        entry.default,
        ", ".join(unit for unit, holds in counted if holds),
        left is None,
        rules_note(rules.get(block.table)),
    )


def _signature(name: str, parameters: list[str]) -> str:
    return f"{name}({', '.join(parameters)})" if parameters else name


def _with_foot(card: Card, foot: str) -> Card:
    return replace(card, lines=(*card.lines, CardLine(foot, card.pruned, "", True))) if foot else card
