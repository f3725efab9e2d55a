"""Headers: layouts, stacks, clauses bound to instances, what can be assigned."""

from __future__ import annotations

import pytest

from pcnc.expression import Compare, Conditional, Constant, FieldRead, FieldRef, Logic
from pcnc.expression_walk import fields_read
from pcnc.parse_graph import Headers
from pcnc.presence.worlds import Worlds
from tests.test_resolve import compiled

pytestmark = pytest.mark.text

PRELUDE = compiled("service s { chain ingress { drop } }").headers


def headers(text: str) -> Headers:
    return compiled(text + "\nservice s { chain ingress { drop } }").headers


def test_fields_lie_where_they_were_declared() -> None:
    ipv4 = PRELUDE.instance("ipv4")
    assert [(f.name, f.offset, f.type.bits) for f in ipv4.fields][:4] == [
        ("version", 0, 4),
        ("ihl", 4, 4),
        ("dscp", 8, 6),
        ("ecn", 14, 2),
    ]
    assert (ipv4.field("src").offset, ipv4.field("dst").offset, ipv4.length) == (96, 128, 20)
    assert "_" not in {f.name for f in ipv4.fields}


def test_parents_stand_before_their_children() -> None:
    seen: set[str] = set()
    for instance in PRELUDE.instances:
        assert {parent.header for parent in instance.parents} <= seen
        seen.add(instance.name)
    assert PRELUDE.instances[0].name == "eth"


def test_a_stack_is_a_chain_of_instances() -> None:
    names = [instance.name for instance in PRELUDE.instances if instance.header == "ipv6_ext"]
    assert names == ["ipv6_ext", "ipv6_ext.inner", *(f"ipv6_ext.{index}" for index in range(2, 8))]
    assert [parent.header for parent in PRELUDE.instance("ipv6_ext").parents] == ["ipv6"]
    assert [parent.header for parent in PRELUDE.instance("ipv6_ext.inner").parents] == ["ipv6_ext"]
    assert [parent.header for parent in PRELUDE.instance("ipv6_ext.2").parents] == ["ipv6_ext.inner"]
    assert [parent.header for parent in PRELUDE.instance("ipv4").parents] == ["eth", "vlan", "vlan.inner"]


def test_clauses_are_bound_to_their_instance() -> None:
    third = PRELUDE.instance("ipv6_ext.2")
    assert isinstance(third.size, Conditional)
    assert {read.header for read in fields_read(third.size)} == {"ipv6_ext.2", "ipv6_ext.inner"}
    assert third.opaque is not None
    assert fields_read(third.opaque)[0] == FieldRef("ipv6_ext.inner", "next")
    tcp = PRELUDE.instance("tcp")
    conditions = {parent.header: parent.condition for parent in tcp.parents}
    condition = conditions["ipv6_ext.3"]
    assert condition is not None
    assert fields_read(condition) == (FieldRef("ipv6_ext.3", "next"),)


def test_sizes_do_not_wrap() -> None:
    size = PRELUDE.instance("ipv4").size
    assert size is not None
    assert size.type.bits == 32


def test_fields_that_choose_the_layout_are_fixed() -> None:
    for name in ("eth.type", "vlan.type", "vlan.inner.type", "ipv4.ihl", "ipv4.proto", "ipv4.length", "udp.length", "tcp.offset"):
        header, _, field = name.rpartition(".")
        assert not PRELUDE.instance(header).field(field).assignable, name
    for name in ("eth.dst", "vlan.id", "ipv4.ttl", "ipv4.src", "tcp.dport", "udp.dport", "icmp.type"):
        header, _, field = name.rpartition(".")
        assert PRELUDE.instance(header).field(field).assignable, name


def test_a_header_of_the_file_fixes_what_it_hangs_on() -> None:
    made = headers("header gtpu after udp when udp.dport == 2152 { version: u3; _: u5; type: u8; length: u16; teid: u32 }")
    gtpu = made.instance("gtpu")
    assert (gtpu.length, gtpu.field("teid").offset) == (8, 32)
    assert not made.instance("udp").field("dport").assignable
    (l4,) = made.eithers
    assert not next(f for f in l4.fields if f.name == "dport").assignable
    assert gtpu.parents[0].condition == Compare(
        "==",
        FieldRead(FieldRef("udp", "dport"), made.instance("udp").field("dport").type, gtpu.span),
        Constant(2152, made.instance("udp").field("dport").type, gtpu.span),
        gtpu.span,
    )


def test_two_conditions_for_one_parent_are_one() -> None:
    made = headers("header a after udp when udp.dport == 1, udp when udp.sport == 1 { x: u8 }")
    (parent,) = made.instance("a").parents
    assert isinstance(parent.condition, Logic)
    assert parent.condition.operator == "or"


def test_headers_of_the_file_may_stand_in_any_order() -> None:
    made = headers("header b after a when a.x == 1 { y: u8 }\nheader a after eth when eth.type == 0x9000 { x: u8 }")
    names = [instance.name for instance in made.instances]
    assert names.index("a") < names.index("b")


def test_eithers_have_the_fields_that_all_have() -> None:
    (l4,) = PRELUDE.eithers
    assert (l4.members, [f.name for f in l4.fields]) == (("tcp", "udp"), ["sport", "dport", "checksum"])


def test_checksums() -> None:
    udp = PRELUDE.instance("udp").checksum
    assert udp is not None
    assert (udp.field, udp.header, udp.payload, udp.pseudo, udp.optional) == ("checksum", True, True, True, True)
    ipv4 = PRELUDE.instance("ipv4").checksum
    assert ipv4 is not None
    assert (ipv4.header, ipv4.payload, ipv4.pseudo, ipv4.optional) == (True, False, False, False)


def test_worlds_are_the_ways_through_the_parse_graph() -> None:
    worlds = Worlds(PRELUDE, 10_000)
    assert not worlds.is_cut
    assert worlds.holding("eth") == worlds.all
    assert worlds.holding("tcp") & worlds.holding("udp") == 0
    assert worlds.holding("tcp") & ~(worlds.holding("ipv4") | worlds.holding("ipv6")) == 0
    assert worlds.holding("ipv4") & worlds.holding("ipv6") == 0
    assert worlds.holding("vlan.inner") & ~worlds.holding("vlan") == 0
