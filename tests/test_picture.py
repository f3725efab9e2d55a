"""Pictures: every block once, pruned parts marked, nothing drawn over a card, the same bytes each time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcnc.compile import check
from pcnc.draw_svg import METRICS, draw_svg, draw_svg_pair
from pcnc.draw_text import NARROWEST, draw_text
from pcnc.graph import Pipeline
from pcnc.layer_picture import layer
from pcnc.lower import lower
from pcnc.manifest import Manifest
from pcnc.optimise import PASS_NAMES, optimise
from pcnc.picture import VERDICTS, Arrow, Card, CardKind, CardLine, Picture
from pcnc.picture_of_pipeline import picture_of_pipeline
from pcnc.picture_of_plan import picture_of_plan
from pcnc.place_picture import Placer
from pcnc.program import Program
from pcnc.shape import Shape, TableShape, widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import compile_variant, plan_manifest

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SVG = "{http://www.w3.org/2000/svg}"

EDGE = """
service edge {
    config limit: u16 = 1500
    meta trusted: bool
    table blocked {
        match   ipv4.src: lpm
        action  drop, next
        default next
        size    64k
    }
    table acl4 {
        match   ipv4.src: prefix, ipv4.proto: ternary, l4.dport: range
        action  next, drop, mark
        default drop
        order   first
        size    10k
        count   packets, bytes
    }
    table acl6 {
        match   ipv6.src: prefix, l4.dport: range
        action  next, drop
        default drop
        order   first
        size    10k
    }
    action mark(dscp: u6) { if ipv4 { ipv4.dscp = dscp } }
    chain ingress {
        stage sanity {
            if packet.length > limit { drop }     # jumbo
            if arp {
                pass
            }
        }
        if ipv4 {
            blocked
            acl4
            stage ttl { ipv4.ttl -= 1 }
        } else { acl6 }
        stage sort { if trusted { pass } }
    }
}
"""


@cache
def firewall() -> Program:
    path = ROOT / "examples" / "firewall.pcn"
    return check(Source("firewall.pcn", path.read_text())).program


@cache
def edge() -> Program:
    return check(Source("edge.pcn", EDGE)).program


def pipeline(program: Program) -> Pipeline:
    return lower(program, program.services[0])[0]


def shape(program: Program, **tables: TableShape) -> Shape:
    empty = TableShape((), ())
    return Shape(tuple(sorted((table.name, tables.get(table.name, empty)) for table in program.services[0].tables)))


DROPS = TableShape((0,), ("drop",))


def firewall_picture(**tables: int) -> Picture:
    whole = pipeline(firewall())
    kept = optimise(whole, shape(firewall(), **{name: DROPS for name, rules in tables.items() if rules}))
    return picture_of_pipeline(whole, kept, {"sources": 0, "destinations": 0, **tables})


def edge_picture() -> Picture:
    whole = pipeline(edge())
    kept = optimise(whole, shape(edge(), acl4=TableShape((0, 2), ("next", "drop")), acl6=TableShape((1,), ("drop",))))
    return picture_of_pipeline(whole, kept, {"acl4": 1204, "acl6": 1, "blocked": 0})


def manifest(program: Program, *shapes: Shape) -> Manifest:
    service = program.services[0]
    variants = [compile_variant(program, service, each, "xdp", f"v{index}") for index, each in enumerate(shapes)]
    return plan_manifest(program, service, "xdp", variants)[0]


def lines(card: Card) -> dict[str, bool]:
    return {line.text: line.pruned for line in card.lines}


# ---- the model


def test_rules_only_in_sources_prune_the_stage_and_the_field_of_destinations() -> None:
    picture = firewall_picture(sources=2)
    assert [(card.name, card.kind, card.pruned) for card in picture.cards] == [
        ("ingress packets", "entry", False),
        ("parser", "parser", False),
        ("sources", "table", False),
        ("destinations", "table", True),
        ("next", "verdict", False),
        ("drop", "verdict", False),
    ]
    assert lines(picture.card("parser")) == {"ipv4.src": False, "ipv4.dst": True}
    assert [(line.text, line.note, line.pruned) for line in picture.card("sources").lines] == [
        ("ipv4.src", "lpm", False),
        ("→ drop", "", False),
        ("→ next", "", True),
        ("→ next", "default", False),
    ]
    assert picture.card("sources").note == "2 rules"
    assert picture.card("destinations").note == "no rule"
    assert Arrow("sources", "next", "next") in picture.arrows
    assert Arrow("sources", "destinations", "next", pruned=True) in picture.arrows
    assert picture.subtitle == "2 of 3 blocks run, 1 of 2 fields and headers parsed"


def test_without_any_rule_the_only_way_left_leads_past_everything() -> None:
    picture = firewall_picture()
    assert [arrow for arrow in picture.arrows if not arrow.pruned] == [Arrow("ingress packets", "next", "next")]
    assert {card.name for card in picture.cards if not card.pruned} == {"ingress packets", "next"}


def test_nothing_is_pruned_of_a_pipeline_as_written() -> None:
    whole = pipeline(edge())
    picture = picture_of_pipeline(whole, whole, {})
    assert not any(card.pruned or any(line.pruned for line in card.lines) for card in picture.cards)
    assert not any(arrow.pruned for arrow in picture.arrows)
    assert picture.subtitle == "8 blocks run, 8 fields and headers parsed"


def test_a_table_that_is_its_default_is_left_with_columns_and_actions_pruned() -> None:
    whole = pipeline(edge())
    picture = picture_of_pipeline(whole, optimise(whole, shape(edge())), {"acl4": 0})
    card = picture.card("acl4")
    assert not card.pruned
    assert [line.text for line in card.lines if not line.pruned] == ["→ drop", "counts packets, bytes"]


def test_stages_and_branches_show_their_source_without_comments() -> None:
    picture = edge_picture()
    assert [line.text for line in picture.card("sanity").lines] == ["if packet.length > limit { drop }", "if arp {", "  pass", "}"]
    assert [line.text for line in picture.card("branch").lines] == ["if ipv4"]
    assert "→ mark(dscp)" in lines(picture.card("acl4"))


@pytest.mark.parametrize("last", PASS_NAMES)
def test_every_pass_can_be_the_last(last: str) -> None:
    whole = pipeline(edge())
    picture = picture_of_pipeline(whole, optimise(whole, shape(edge()), last), {})
    live = {card.name for card in picture.cards if not card.pruned}
    for arrow in picture.arrows:
        assert arrow.pruned or {arrow.origin, arrow.target} <= live


@pytest.mark.parametrize("compiled", [firewall, edge])
def test_a_manifest_gives_the_same_picture_as_the_compiler(compiled: Callable[[], Program]) -> None:
    program = compiled()
    service = program.services[0]
    narrow = shape(program, **{service.tables[0].name: DROPS})
    plan = manifest(program, widest_shape(service.schemas), narrow)
    whole, live = plan.variants
    planned = picture_of_plan(plan, "ingress", whole, live, {service.tables[0].name: 3})
    written = pipeline(program)
    built = picture_of_pipeline(optimise(written, whole.shape), optimise(written, narrow), {service.tables[0].name: 3})
    assert [(card.name, card.kind, card.pruned) for card in planned.cards] == [
        (card.name, card.kind, card.pruned) for card in built.cards
    ]
    assert set(planned.arrows) == set(built.arrows)
    for card in planned.cards:
        if card.kind == "table":
            assert card == built.card(card.name)
        if card.kind == "parser":
            metas = {line.text for line in built.card("parser").lines if line.note == "meta"}
            assert lines(card) == {text: gone for text, gone in lines(built.card("parser")).items() if text not in metas}


def test_a_manifest_of_which_nothing_is_left_draws_a_way_to_next() -> None:
    plan = manifest(firewall(), widest_shape(firewall().services[0].schemas), shape(firewall()))
    picture = picture_of_plan(
        plan, "ingress", plan.variants[0], plan.variants[1], {}, verdicts={"next": 12345}, traffic={"sources": "7 packets"}
    )
    assert [arrow for arrow in picture.arrows if not arrow.pruned] == [Arrow("ingress packets", "next", "next")]
    assert picture.card("next").note == "12,345"
    assert " next 12,345\n" in draw_text(picture, 40, colour=False)
    counted = picture_of_plan(plan, "ingress", plan.variants[0], plan.variants[0], {}, {"next": 1, "drop": 37})
    assert " next 1\n drop 37\n" in draw_text(counted, 40, colour=False)
    assert picture.card("sources").lines[-1].text == "7 packets"


def test_drawing_a_manifest_loads_neither_grammar_nor_graph() -> None:
    code = "import pcnc.picture_of_plan, pcnc.draw_svg, pcnc.draw_text, sys; print(*sys.modules)"
    path = os.pathsep.join(map(str, (ROOT, ROOT / "grammar", ROOT / "backends")))
    loaded = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert not {"networkx", "jinja2", "lark", "pcnc.graph", "pcnc.program"} & set(loaded.stdout.split())


# ---- layout


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Chains with branches, ways past anything, and some of it pruned."""
    names = [f"b{index}" for index in range(draw(st.integers(0, 9)))]
    kinds: tuple[CardKind, ...] = ("table", "stage", "branch")
    cards = [Card("in packets", "entry")]
    arrows = {("in packets", names[0] if names else "next", "next"): False}
    for index, name in enumerate(names):
        kind = draw(st.sampled_from(kinds))
        body = tuple(CardLine("x" * draw(st.integers(1, 20)), draw(st.booleans()), "note") for _ in range(draw(st.integers(0, 15))))
        cards.append(Card(name, kind, body, draw(st.booleans())))
        later = [*names[index + 1 :], "next"]
        for label in draw(st.sets(st.sampled_from(["next", "then", "else"]), min_size=1)):
            arrows[name, draw(st.sampled_from(later)), label] = draw(st.booleans())
        for verdict in draw(st.sets(st.sampled_from(["drop", "pass"]))):
            arrows[name, verdict, draw(st.sampled_from([verdict, "malformed"]))] = draw(st.booleans())
    used = {target for _, target, _ in arrows}
    cards += [Card(name, "verdict") for name in VERDICTS if name in used]
    return Picture("a · title", "of a picture", tuple(cards), tuple(Arrow(*way, pruned=gone) for way, gone in arrows.items()))


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_nothing_lies_over_a_card(picture: Picture) -> None:
    placement = Placer(picture, METRICS).place()
    assert sorted(box.card.name for box in placement.boxes) == sorted(card.name for card in picture.cards)
    for one, other in combinations(placement.boxes, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y
    for box in placement.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= placement.width
        assert box.y + box.height <= placement.height
    for route in placement.routes:
        for start, end, y in route.stretches:
            for box in placement.boxes:
                assert not (start < box.x + box.width and box.x < end and box.y < y < box.y + box.height)


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_arrows_lead_from_card_to_card(picture: Picture) -> None:
    placement = Placer(picture, METRICS).place()
    boxes = {box.card.name: box for box in placement.boxes}
    for route in placement.routes:
        origin, target = boxes[route.arrow.origin], boxes[route.arrow.target]
        start, end = route.stretches[0], route.stretches[-1]
        assert start[0] == origin.x + origin.width
        assert origin.y < start[2] < origin.y + origin.height
        assert end[1:] == (target.x, target.y + METRICS.port)
        assert all(left[1] < right[0] for left, right in zip(route.stretches, route.stretches[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_every_way_leads_to_the_right(picture: Picture) -> None:
    layering = layer(picture)
    assert sorted(node for nodes in layering.layers for node in nodes if isinstance(node, str)) == sorted(
        card.name for card in picture.cards
    )
    assert all(layering.layer_of(arrow.origin) < layering.layer_of(arrow.target) for arrow in picture.arrows)


def test_a_cycle_is_refused() -> None:
    cards = (Card("a", "stage"), Card("b", "stage"))
    with pytest.raises(ValueError, match="cycle"):
        layer(Picture("", "", cards, (Arrow("a", "b", "next"), Arrow("b", "a", "next"))))


# ---- SVG


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_svg_shows_every_card_and_arrow_once(picture: Picture) -> None:
    root = ElementTree.fromstring(draw_svg(picture))
    cards = [element for element in root.iter(f"{SVG}g") if element.get("class", "").startswith("card ")]
    assert sorted(element.get("data-name", "") for element in cards) == sorted(card.name for card in picture.cards)
    for element in cards:
        card = picture.card(element.get("data-name", ""))
        assert element.get("class") == f"card {card.kind} {'pruned' if card.pruned else 'live'}"
        assert sum(text.get("text-decoration") == "line-through" for text in element.iter(f"{SVG}text")) == sum(
            line.pruned for line in card.lines
        )
    ways = [
        (element.get("data-origin"), element.get("data-target"), element.get("class"))
        for element in root.iter(f"{SVG}path")
        if element.get("data-origin")
    ]
    assert sorted(map(str, ways)) == sorted(
        str((arrow.origin, arrow.target, f"arrow {'pruned' if arrow.pruned else 'live'}")) for arrow in picture.arrows
    )


@pytest.mark.parametrize("made", [firewall_picture, edge_picture])
def test_labels_keep_clear_of_cards(made: Callable[[], Picture]) -> None:
    picture = made()
    root = ElementTree.fromstring(draw_svg(picture))
    boxes = Placer(picture, METRICS).place().boxes
    labels = [element for element in root.iter(f"{SVG}text") if element.get("class") == "label"]
    assert {"malformed"} <= {label.text for label in labels}
    for label in labels:
        x, y = float(label.get("x", "")), float(label.get("y", ""))
        width = len(label.text or "") * 13 * 0.62
        for box in boxes:
            assert x + width <= box.x or box.x + box.width <= x or y <= box.y or box.y + box.height <= y - 13


def test_svg_is_alone_and_always_the_same() -> None:
    drawn = draw_svg([firewall_picture(sources=2), edge_picture()])
    assert drawn == draw_svg([firewall_picture(sources=2), edge_picture()])
    assert not re.search(r"href|url\(|<script|@import|\bid=", drawn)


def test_names_from_source_cannot_break_the_svg() -> None:
    cards = (
        Card("in packets", "entry"),
        Card('a<b&"c', "stage", (CardLine('if x < 1 && y > "2" { drop }'),)),
        Card("next", "verdict"),
    )
    arrows = (Arrow("in packets", 'a<b&"c', "next"), Arrow('a<b&"c', "next", "next"))
    root = ElementTree.fromstring(draw_svg(Picture("<t>", "&", cards, arrows)))
    assert 'if x < 1 && y > "2" { drop }' in [element.text for element in root.iter(f"{SVG}text")]


# ---- text


@settings(max_examples=60, deadline=None)
@given(pictures(), st.integers(10, 300), st.booleans(), st.booleans())
def test_text_fits_and_names_every_card(picture: Picture, width: int, colour: bool, ascii_only: bool) -> None:
    drawn = draw_text(picture, width, colour, ascii_only)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert colour or plain == drawn
    assert not ascii_only or plain.isascii()
    assert max(map(len, plain.splitlines())) <= max(width, NARROWEST, len("┄ and ✗: pruned, not in the running program"))
    for card in picture.cards:
        if card.name not in ("drop", "pass"):
            assert re.search(rf"\b{re.escape(card.name)}\b", plain)


def test_text_without_colour_marks_what_was_pruned() -> None:
    drawn = draw_text(firewall_picture(sources=2), 60, colour=False)
    assert "✗ ipv4.dst" in drawn
    assert "┊ ipv4.dst" in drawn
    assert "✗" not in draw_text(firewall_picture(sources=2), 60, colour=True)


def test_text_of_branches_from_top_to_bottom() -> None:
    drawn = draw_text(edge_picture(), 80, colour=False)
    assert "├─else─▶ acl6" in drawn
    assert "▼ from branch (else)" in drawn
    assert " │ then\n" in drawn


# ---- goldens


GOLDENS: dict[str, Callable[[], str]] = {
    "firewall.svg": lambda: draw_svg_pair(firewall_picture(sources=2, destinations=1), firewall_picture(sources=2)),
    "firewall.txt": lambda: draw_text(firewall_picture(sources=2), 120, colour=False),
    "firewall-narrow.txt": lambda: draw_text(firewall_picture(sources=2), 60, colour=False),
    "firewall-ascii.txt": lambda: draw_text(firewall_picture(), 120, colour=False, ascii_only=True),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_the_firewall_looks_as_it_did(name: str) -> None:
    """After a wanted change: run with PCNC_WRITE_GOLDENS=1, and look at the new pictures."""
    drawn = GOLDENS[name]()
    path = GOLDEN / name
    if os.environ.get("PCNC_WRITE_GOLDENS") == "1":
        path.write_text(drawn)
    assert path.read_text() == drawn
