"""What programs mean once every name is bound: chains, stages, tables, actions, rules and tests."""

from __future__ import annotations

import pytest

from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.expression import Cast, Constant, CounterRead, FieldRead, FieldRef, HeaderPresent, LocalRead, Membership, MetaRead
from pcnc.parse import parse, parse_prelude
from pcnc.program import ApplyTable, AssignField, AssignMeta, Branch, CallAction, If, Let, Program, RunStage, Service, Verdict
from pcnc.program_tests import LayerValues, Payload, TestExpect, TestExpectState, TestRules, TestSend
from pcnc.resolve import resolve, table_schema
from pcnc.rules import Interval, MaskedValue, Rule
from pcnc.source import Source
from pcnc.types import IPV4_ADDR, unsigned

pytestmark = pytest.mark.text


def compiled(text: str) -> Program:
    return resolve(parse_prelude(), parse(Source("test.pcn", text)))[0]


def service(body: str) -> Service:
    return compiled(f"service s {{\n{body}\n}}\n").services[0]


def problems(body: str) -> list[Diagnostic]:
    """The errors of a service's body, or its warnings where it has none."""
    try:
        return list(resolve(parse_prelude(), parse(Source("test.pcn", f"service s {{\n{body}\n}}\n")))[1])
    except CompileError as error:
        return list(error.diagnostics)


def test_the_plain_firewall() -> None:
    made = service(
        """
        table sources { match ipv4.src: lpm; action drop, next; default next; size 64k }
        rules sources { 10.0.0.0/8 -> drop }
        chain ingress { sources }
        """
    )
    (table,) = made.tables
    (column,) = table.columns
    assert (column.name, column.kind, column.headers, column.type) == ("ipv4.src", "lpm", ("ipv4",), IPV4_ADDR)
    assert (table.actions, table.ordered, table.size) == (("drop", "next"), False, 65536)
    assert table.default.action == "next"
    assert table.rules == (Rule((MaskedValue(0x0A000000, 0xFF000000),), "drop"),)
    assert made.chains[0].steps == (ApplyTable("sources", table.span),)


def test_a_table_without_clauses_goes_on_and_holds_1024_rules() -> None:
    (table,) = service("table t { match eth.src: exact; action drop }\nchain ingress { t }").tables
    assert (table.default.action, table.size, table.count_packets, table.count_bytes) == ("next", 1024, False, False)


def test_statements_between_steps_are_stages() -> None:
    made = service(
        """
        meta seen: u8
        table t { match eth.src: exact; action drop }
        stage shared { seen = 2 }
        chain ingress {
            seen = 1
            if tcp { drop }
            t
            shared
            seen = 3
        }
        chain egress { shared; stage own { seen = 4 } }
        """
    )
    ingress, egress = made.chains
    assert [step.stage if isinstance(step, RunStage) else "t" for step in ingress.steps] == [
        "statements_1",
        "t",
        "shared",
        "statements_2",
    ]
    assert [stage.name for stage in made.stages] == ["shared", "statements_1", "statements_2", "own"]
    assert [step.stage for step in egress.steps if isinstance(step, RunStage)] == ["shared", "own"]
    first = made.stage("statements_1").body
    assert isinstance(first[0], AssignMeta)
    assert isinstance(first[1], If)


def test_an_if_around_steps_is_a_branch_and_one_around_statements_is_not() -> None:
    made = service(
        """
        table four { match ipv4.src: lpm; action drop }
        table six { match ipv6.src: lpm; action drop }
        chain ingress {
            if ipv4 { four } else if ipv6 { six } else { drop }
        }
        """
    )
    (branch,) = made.chains[0].steps
    assert isinstance(branch, Branch)
    assert isinstance(branch.condition, HeaderPresent)
    assert isinstance(branch.then[0], ApplyTable)
    (inner,) = branch.otherwise
    assert isinstance(inner, Branch)
    assert isinstance(inner.otherwise[0], RunStage)


def test_names_of_statements_do_not_take_those_of_stages() -> None:
    made = service("stage statements_1 { eth.src = eth.dst }\nchain ingress { eth.dst = eth.src; statements_1 }")
    assert [stage.name for stage in made.stages] == ["statements_1", "statements_2"]


def test_lets_of_sibling_blocks_get_names_of_their_own() -> None:
    made = service("chain ingress { stage s1 { if tcp { let x = 1; m = x } else { let x = 2; m = x } } }\nmeta m: u32")
    (choice,) = made.stage("s1").body
    assert isinstance(choice, If)
    names = [part.name for side in (choice.then, choice.otherwise) for part in side if isinstance(part, Let)]
    reads = [part.value for side in (choice.then, choice.otherwise) for part in side if isinstance(part, AssignMeta)]
    assert names == ["x", "x_2"]
    assert [read.name for read in reads if isinstance(read, LocalRead)] == ["x", "x_2"]


def test_actions_take_arguments_and_call_one_another() -> None:
    made = service(
        """
        action outer(value: u8) { helper(value, 7) }
        action helper(a: u16, b: u8) { m = a; if b == 1 { drop } }
        meta m: u16
        table t { match eth.src: exact; action outer; default outer(3) }
        rules t { 02:00:00:00:00:01 -> outer(200) }
        chain ingress { t }
        """
    )
    (call,) = made.action("outer").body
    assert isinstance(call, CallAction)
    assert call.action == "helper"
    assert isinstance(call.arguments[0], Cast)
    assert call.arguments[1] == Constant(7, unsigned(8), call.span)
    assert made.table("t").default.arguments == (Constant(3, unsigned(8), call.span),)
    assert made.table("t").rules[0].arguments == (200,)


def test_verdicts_are_actions_of_one_statement() -> None:
    made = service("chain ingress { drop }")
    assert [(action.name, action.body[0]) for action in made.actions] == [
        (name, Verdict(name, made.span)) for name in ("drop", "next", "pass")
    ]


def test_constants_are_folded_and_enums_stand_by_their_members() -> None:
    program = compiled(
        """
        const limit = 5
        enum kind: u8 { plain, special = limit * 2, other }
        service s {
            const twice: u16 = limit * 2
            meta m: u16
            meta k: kind
            config c: u32 = twice + 1
            chain ingress { m = twice + limit * 3; k = special; if k == other or k == kind.plain { drop } }
        }
        """
    )
    (made,) = program.services
    assert made.configs[0].value == 11
    first, second, _ = made.stages[0].body
    assert isinstance(first, AssignMeta)
    assert isinstance(second, AssignMeta)
    assert isinstance(first.value, Constant)
    assert first.value.value == 25
    assert isinstance(second.value, Constant)
    assert (second.value.value, second.value.type.name) == (10, "kind")


def test_header_names_stand_for_the_value_that_announces_them() -> None:
    program = compiled(
        """
        header gtpu after udp when udp.dport == 2152 and udp.length > 8 { flags: u8 }
        service s { chain ingress { if l4 and l4.dport == gtpu { drop } } }
        """
    )
    (choice,) = program.services[0].stages[0].body
    assert isinstance(choice, If)
    assert "Constant(value=2152" in repr(choice.condition)


def test_properties_of_addresses_are_tests() -> None:
    made = service("chain ingress { if eth.dst.is_multicast { drop } }")
    (choice,) = made.stages[0].body
    assert isinstance(choice, If)
    assert choice.condition == Membership(
        FieldRead(FieldRef("eth", "dst"), choice.condition.operand.type, choice.span),  # type: ignore[union-attr]
        (MaskedValue(1 << 40, 1 << 40),),
        choice.span,
    )


def test_membership_takes_ranges_prefixes_masks_and_sets() -> None:
    made = service("chain ingress { if tcp and tcp.dport in (22, 80..90, 0x10 &&& 0xf0) { drop } }")
    assert "(MaskedValue(value=22, mask=65535), Interval(low=80, high=90), MaskedValue(value=16, mask=240))" in repr(made.stages)


def test_either_fields_are_read_and_assigned() -> None:
    made = service("chain ingress { if l4 { l4.dport = l4.sport } }")
    (choice,) = made.stages[0].body
    assert isinstance(choice, If)
    (assign,) = choice.then
    assert isinstance(assign, AssignField)
    assert assign.field == FieldRef("l4", "dport")


def test_metas_and_inner_tags_can_be_columns() -> None:
    (table,) = service("meta m: u16\ntable t { match m: exact, vlan.inner.id: exact; action drop }\nchain ingress { t }").tables
    assert [(column.name, column.headers) for column in table.columns] == [("m", ()), ("vlan.inner.id", ("vlan.inner",))]
    assert isinstance(table.columns[0].value, MetaRead)


def test_tests_are_resolved() -> None:
    made = service(
        """
        config limit: u8
        table t { match ipv4.src: prefix; action drop, next; order first; count packets }
        chain ingress { t; if ipv4 and ipv4.ttl < limit { drop } }
        test "all of it" {
            limit = 5
            rules t { 10.0.0.0/8 -> next; * -> drop }
            send ingress: eth / vlan(id=7) / vlan / ipv4(src=10.1.2.3, proto=udp) / udp(dport=53) / bytes("0a 0B") / truncate(60)
            expect next with ipv4.ttl == 64, vlan.inner
            expect t[1].packets + t[0].packets == 1
        }
        """
    )
    config, rules, send, expect, state = made.tests[0].items
    assert isinstance(rules, TestRules)
    assert [rule.action for rule in rules.rules] == ["next", "drop"]
    assert isinstance(send, TestSend)
    assert send.packet.truncate == 60
    assert send.packet.layers == (
        LayerValues("eth", ()),
        LayerValues("vlan", (("id", 7),)),
        LayerValues("vlan", ()),
        LayerValues("ipv4", (("src", 0x0A010203), ("proto", 17))),
        LayerValues("udp", (("dport", 53),)),
        Payload(b"\x0a\x0b"),
    )
    assert isinstance(expect, TestExpect)
    assert expect.conditions[1] == HeaderPresent(("vlan.inner",), expect.span)
    assert isinstance(state, TestExpectState)
    assert CounterRead("t", 0, "packets", unsigned(64), state.span) in (
        state.condition.left.right,  # type: ignore[union-attr]
    )
    assert "TestConfig(config='limit', value=5)" in repr(config)


def test_schemas_know_the_names_that_rules_may_use() -> None:
    program = compiled(
        """
        const web = 80
        const office = 10.0.0.0
        service s {
            table t { match ipv4.proto: ternary, l4.dport: range, ipv4.src: prefix; action mark; order first; size 7 }
            action mark(value: u16) { if value == 1 { drop } }
            chain ingress { t }
        }
        """
    )
    schema = table_schema(program, "s", "t")
    assert (schema.ordered, schema.size) == (True, 7)
    assert dict(schema.columns[0].constants)["tcp"] == 6
    assert dict(schema.columns[1].constants) == {"web": 80}
    assert dict(schema.columns[2].constants) == {"office": 0x0A000000}
    assert dict(schema.constants) == {"web": 80, "office": 0x0A000000}
    assert [parameter.type for parameter in schema.actions[0].parameters] == [unsigned(16)]
    with pytest.raises(KeyError):
        table_schema(program, "s", "other")


def test_rules_in_several_blocks_keep_their_order() -> None:
    (table,) = service(
        """
        table t { match l4.dport: range; action drop, next; order first }
        rules t { 1..5 -> drop }
        chain ingress { t }
        rules t { 7 -> next; * -> drop }
        """
    ).tables
    assert [rule.matches[0] for rule in table.rules] == [Interval(1, 5), Interval(7, 7), None]
    assert [rule.span.text for rule in table.rules if rule.span] == ["1..5 -> drop", "7 -> next", "* -> drop"]


def test_two_services_do_not_see_each_other() -> None:
    program = compiled("service a { meta m: u8; chain ingress { m = 1 } }\nservice b { meta m: u16; chain ingress { m = 1000 } }")
    assert [made.metas[0].type for made in program.services] == [unsigned(8), unsigned(16)]


def test_all_problems_are_told_at_once_and_in_order() -> None:
    found = problems("meta a: uint\nchain ingress { if tpc { drop }; stage x { marc } }\nrules t { * -> drop }")
    assert [problem.name for problem in found] == ["unknown-type", "unknown-name", "unknown-action", "unknown-table"]
    lines = [problem.span.line for problem in found if problem.span]
    assert lines == sorted(lines)


def test_a_problem_in_a_condition_hides_what_hangs_on_it() -> None:
    found = problems("chain ingress { if tpc { if tcp.dport == 1 { drop } } }")
    assert [problem.name for problem in found] == ["unknown-name"]


def test_warnings_do_not_stop_the_walk() -> None:
    found = problems("stage idle { drop }\nchain ingress { drop }")
    assert [(problem.name, problem.is_error) for problem in found] == [("unused", False)]
