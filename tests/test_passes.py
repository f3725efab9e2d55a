"""Each pass on its own: what it takes away, and what it must leave."""

from __future__ import annotations

import networkx
import pytest

from pcnc.blocks import StageBlock, TableBlock
from pcnc.diagnostics import CompileError
from pcnc.graph import Edge, GraphError
from pcnc.optimise import PASS_NAMES, optimise
from pcnc.passes.bypass_idle_blocks import bypass_idle_blocks
from pcnc.passes.prune_empty_tables import prune_empty_tables
from pcnc.passes.prune_match_columns import prune_match_columns
from pcnc.passes.prune_parse import prune_parse
from pcnc.passes.prune_unreachable import prune_unreachable
from tests.pipelines import FIREWALL, compile_text, live, pipeline


def test_lower_makes_a_block_of_each_step() -> None:
    whole, _ = pipeline(FIREWALL, {})
    assert live(whole) == ["parser", "sources", "destinations"]
    parser = whole.parse_block()
    assert parser is not None
    assert {str(field) for field in parser.needs.fields} == {"ipv4.src", "ipv4.dst"}


def test_a_table_without_rules_becomes_its_default() -> None:
    whole, shape = pipeline(FIREWALL, {"sources": "10.0.0.0/8 -> drop"})
    pruned = prune_empty_tables(whole, shape)
    assert isinstance(pruned.blocks["sources"], TableBlock)
    assert isinstance(pruned.blocks["destinations"], StageBlock)
    assert pruned.successor("destinations", "drop") is None


def test_rules_only_in_sources_leave_one_stage_and_one_address() -> None:
    whole, shape = pipeline(FIREWALL, {"sources": "10.0.0.0/8 -> drop"})
    optimised = optimise(whole, shape)
    assert live(optimised) == ["parser", "sources"]
    parser = optimised.parse_block()
    assert parser is not None
    assert {str(field) for field in parser.needs.fields} == {"ipv4.src"}


def test_without_rules_there_is_no_parser_at_all() -> None:
    whole, shape = pipeline(FIREWALL, {})
    optimised = optimise(whole, shape)
    assert live(optimised) == []
    assert optimised.entry == "next"
    assert list(optimised.blocks) == ["next"]


COUNTED = FIREWALL.replace("default next", "default next\n        count packets", 1)


def test_a_default_that_is_counted_stays() -> None:
    whole, shape = pipeline(COUNTED, {})
    assert live(optimise(whole, shape)) == ["sources"]
    assert optimise(whole, shape).parse_block() is None


ACL = """
service acl {
    table acl {
        match ipv4.src: prefix, ipv4.proto: exact, l4.dport: range
        action next, drop
        default drop
        order first
    }
    table after { match ipv4.ttl: exact; action drop, next; default next }
    chain ingress { acl; after }
}
"""


def test_a_column_of_stars_is_not_matched() -> None:
    whole, shape = pipeline(ACL, {"acl": "l4.dport=22 -> next; l4.dport=80..90 -> drop", "after": "1 -> drop"})
    pruned = prune_match_columns(whole, shape)
    block = pruned.blocks["acl"]
    assert isinstance(block, TableBlock)
    assert block.columns == (2,)
    parser = optimise(whole, shape).parse_block()
    assert parser is not None
    assert {str(field) for field in parser.needs.fields} == {"tcp.dport", "udp.dport", "ipv4.ttl"}


def test_what_no_rule_lets_through_is_unreachable() -> None:
    whole, shape = pipeline(ACL, {"acl": "l4.dport=22 -> drop", "after": "1 -> drop"})
    pruned = prune_unreachable(whole, shape)
    assert "after" not in pruned.blocks
    assert "next" not in pruned.blocks
    block = pruned.blocks["acl"]
    assert isinstance(block, TableBlock)
    assert block.actions == ("drop",)


BRANCH = """
service two {
    table four { match ipv4.src: lpm; action drop, next; default next }
    table six { match ipv6.src: lpm; action drop, next; default next }
    chain ingress { if ipv4 { four } else { six } }
}
"""


def test_a_branch_between_nothing_and_nothing_goes() -> None:
    whole, shape = pipeline(BRANCH, {})
    pruned = bypass_idle_blocks(prune_empty_tables(whole, shape), shape)
    assert "branch" not in pruned.blocks
    assert live(prune_parse(pruned, shape)) == []
    whole, shape = pipeline(BRANCH, {"six": "fe80::/10 -> drop"})
    assert live(optimise(whole, shape)) == ["parser", "branch", "six"]


def test_a_stage_that_writes_stays_and_needs_its_checksums() -> None:
    text = "service s { chain ingress { stage t { if ipv4 { ipv4.src = 10.0.0.1 } } } }"
    whole, shape = pipeline(text, {})
    parser = optimise(whole, shape).parse_block()
    assert parser is not None
    assert {"ipv4", "tcp", "udp"} <= parser.needs.offsets
    assert not parser.needs.fields


def test_a_stage_can_stand_in_a_chain_twice() -> None:
    whole, _ = pipeline(FIREWALL.replace("sources; destinations", "sources; destinations; sources"), {})
    assert live(whole) == ["parser", "sources", "destinations", "sources_2"]


def test_optimise_stops_after_the_pass_named() -> None:
    whole, shape = pipeline(FIREWALL, {})
    assert set(optimise(whole, shape, "prune_empty_tables").blocks) == set(whole.blocks)
    assert PASS_NAMES[-1] == "prune_parse"
    with pytest.raises(KeyError):
        optimise(whole, shape, "fold_laundry")


def test_check_finds_a_broken_graph() -> None:
    whole, _ = pipeline(FIREWALL, {})
    cycle = (*whole.edges[:-1], Edge(whole.edges[-1].origin, "parser", whole.edges[-1].label))
    for edges in (cycle, whole.edges[1:]):
        with pytest.raises(GraphError):
            whole.replace(whole.blocks, edges, whole.entry).check()
    with pytest.raises(GraphError):
        whole.replace(whole.blocks, whole.edges, "nobody").check()


def test_more_programs_than_tail_calls_is_a_diagnostic() -> None:
    steps = "\n".join("        sources" for _ in range(31))
    with pytest.raises(CompileError) as raised:
        compile_text(FIREWALL.replace("sources; destinations", f"\n{steps}\n"))
    assert raised.value.diagnostics[0].name == "pipeline-too-long"


@pytest.mark.parametrize("text", [FIREWALL, ACL, BRANCH])
def test_networkx_sees_the_same_graph(text: str) -> None:
    whole, _ = pipeline(text, {})
    graph = whole.digraph()
    assert networkx.is_directed_acyclic_graph(graph)
    assert set(graph) == set(whole.blocks)
    place = {name: index for index, name in enumerate(whole.blocks)}
    assert all(place[origin] < place[target] for origin, target in graph.edges())
    # One verdict ends every path.
    assert whole.longest_path() == networkx.dag_longest_path_length(networkx.DiGraph(graph))
