"""Presence of headers: which reads are refused, what rules need, and that no accepted program reads an absent header."""

from __future__ import annotations

from random import Random

import pytest

from pcnc.diagnostics import CompileError
from pcnc.interpret import Interpreter
from pcnc.parse import parse, parse_prelude
from pcnc.program import Program
from pcnc.resolve import resolve, table_schema
from pcnc.rule_check import missing_columns
from pcnc.rules import Interval, MaskedValue, Pattern, Rule, TableSchema
from pcnc.source import Source
from tests.random_packets import random_frame
from tests.test_resolve import compiled, problems

pytestmark = pytest.mark.text


def headers_missed(body: str) -> list[str]:
    """The headers of the reads that are refused."""
    found = problems(f"meta m: u16; meta b: u8\n{body}")
    return [p.message.rsplit("`", 2)[1] for p in found if p.name in ("header-may-be-absent", "header-never-present")]


@pytest.mark.parametrize(
    ("statements", "missed"),
    [
        ("m = tcp.dport", ["tcp"]),
        ("if tcp { m = tcp.dport }", []),
        ("if not tcp { drop }; m = tcp.dport", []),
        ("if not tcp { b = 1 }; m = tcp.dport", ["tcp"]),
        ("if not tcp { if udp { drop } else { pass } }; m = tcp.dport", []),
        ("if tcp and tcp.dport == 80 { drop }", []),
        ("if tcp.dport == 80 and tcp { drop }", ["tcp"]),
        ("if not tcp or tcp.dport == 80 { drop }; m = tcp.sport", []),
        ("if not (tcp and ipv4) { drop }; b = ipv4.ttl; m = tcp.dport", []),
        ("if tcp or udp { m = l4.dport }", []),
        ("if l4 and not udp { m = tcp.dport }", []),
        ("if tcp { m = l4.dport }", []),
        ("if tcp { b = ipv4.ttl }", ["ipv4"]),
        ("if tcp and not ipv6 { b = ipv4.ttl }", []),
        ("if icmp { b = ipv4.ttl }", []),
        ("if vlan.inner { m = vlan.id }", []),
        ("if vlan { m = vlan.inner.id }", ["vlan.inner"]),
        ("if ipv4 { if ipv6 { b = ipv6.hop_limit } }", []),
        ("if ipv4 { b = ipv6.hop_limit }", ["ipv6"]),
        ("if ipv4 { drop } else if ipv6 { b = ipv6.hop_limit }", []),
        ("if ipv4 == false { drop }; b = ipv4.ttl", ["ipv4"]),
        ("tcp.dport = 80", ["tcp"]),
        ("ipv4.ttl -= 1; ipv4.ttl -= 1", ["ipv4"]),
        ("let t = tcp and tcp.dport == 80; if t { drop }", []),
        ("eth.src = eth.dst", []),
        ("if tcp { next }; if not tcp { b = 1 }; m = udp.dport", ["udp"]),
        ("if ipv4 { b = ipv4.ttl } else { b = ipv4.ttl }", ["ipv4"]),
        ("drop; m = tcp.dport", []),
    ],
)
def test_guards(statements: str, missed: list[str]) -> None:
    assert headers_missed(f"chain ingress {{ stage s1 {{ {statements} }} }}") == missed


def test_what_is_known_goes_along_the_chain() -> None:
    chain = "chain ingress {{ stage a {{ if not tcp {{ {way} }} }}; stage c {{ m = tcp.dport }} }}"
    assert headers_missed(chain.format(way="drop")) == []
    assert headers_missed(chain.format(way="next")) == ["tcp"]


def test_a_stage_is_followed_in_each_place_where_it_stands() -> None:
    stages = "stage read { m = tcp.dport }\nstage check { if not tcp { drop } }\n"
    assert headers_missed(stages + "chain ingress { check; read }") == []
    assert headers_missed(stages + "chain ingress { check; read }\nchain egress { read }") == ["tcp"]


def test_actions_are_followed_where_they_are_called() -> None:
    action = "action look { m = tcp.dport }\n"
    assert headers_missed(action + "chain ingress { if tcp { look } }") == []
    assert headers_missed(action + "chain ingress { look; if tcp { look } }") == ["tcp"]
    assert headers_missed("action need { if not tcp { drop } }\nchain ingress { need; m = tcp.dport }") == []


@pytest.mark.parametrize(
    ("match", "order", "missed"),
    [
        ("ipv4.src: exact", "", []),
        ("ipv4.src: lpm", "", []),
        ("ipv4.src: prefix", "order first", []),
        ("ipv4.ttl: range", "order first", []),
        ("ipv4.ttl: ternary", "order first", ["ipv4"]),
        ("icmp.code: exact", "", []),
        ("l4.dport: exact", "", ["ipv4"]),
        ("eth.src: exact", "", ["ipv4"]),
    ],
)
def test_a_hit_proves_the_header_of_its_column(match: str, order: str, missed: list[str]) -> None:
    table = f"table t {{ match {match}; action lower; {order} }}\naction lower {{ ipv4.ttl -= 1 }}\nchain ingress {{ t }}"
    assert headers_missed(table) == missed


def test_a_default_is_run_without_a_hit() -> None:
    table = "table t { match ipv4.src: exact; action lower; default lower }\naction lower { ipv4.ttl -= 1 }\nchain ingress { t }"
    assert headers_missed(table) == ["ipv4"]


def test_behind_a_table_is_known_what_all_its_ways_prove() -> None:
    table = "table t {{ match ipv4.src: {kind}; action next; default {default} }}\nchain ingress {{ t; b = ipv4.ttl }}"
    assert headers_missed(table.format(kind="exact", default="drop")) == []
    assert headers_missed(table.format(kind="exact", default="next")) == ["ipv4"]
    # A rule may be `*`.
    assert headers_missed(table.format(kind="lpm", default="drop")) == ["ipv4"]


def needs(columns: str, action: str, before: str = "") -> tuple[tuple[str, ...], ...]:
    program = compiled(
        f"service s {{ table t {{ match {columns}; action a; order first }}\naction a {{ {action} }}\nmeta m: u16\n"
        f"chain ingress {{ {before}; t }} }}"
    )
    return table_schema(program, "s", "t").actions[0].needs


def test_rules_need_what_their_action_reads() -> None:
    assert needs("ipv4.src: prefix, l4.dport: range", "m = 1") == ()
    assert needs("ipv4.src: prefix, l4.dport: range", "ipv4.ttl -= 1") == (("ipv4.src",),)
    assert needs("ipv4.src: prefix, l4.dport: range, l4.sport: range", "if ipv4 { l4.dport = 1 }") == (("l4.dport", "l4.sport"),)
    assert needs("ipv4.src: prefix, l4.dport: range", "l4.dport = 1; ipv4.ttl -= 1") == (("ipv4.src",), ("l4.dport",))
    # Either of the two proves that l4 is there.
    assert needs("tcp.dport: range, l4.dport: range", "l4.dport = 1") == (("tcp.dport", "l4.dport"),)
    assert needs("ipv4.src: prefix", "ipv4.ttl -= 1", before="if not ipv4 { drop }") == ()
    assert needs("ipv4.src: prefix", "ipv4.ttl -= 1", before="if not icmp { drop }") == ()


def test_many_actions_that_call_many_are_followed_in_no_time() -> None:
    actions = "\n".join(f"action a{i} {{ if tcp {{ a{i + 1} }}; a{i + 1} }}" for i in range(11))
    body = actions + "\naction a11 { m = tcp.dport }\nchain ingress { if tcp { a0 } }"
    assert headers_missed(body) == []


def test_actions_that_call_too_many_are_refused() -> None:
    actions = "\n".join(f"action a{i} {{ if tcp {{ a{i + 1} }}; a{i + 1} }}" for i in range(200))
    found = problems(actions + "\naction a200 { drop }\nchain ingress { if tcp { a0 } }")
    assert {problem.name for problem in found} == {"too-many-statements"}


# ---- whatever is accepted never reads an absent header

HEADERS = ("vlan", "vlan.inner", "arp", "ipv4", "ipv6", "ipv6_ext", "tcp", "udp", "l4", "icmp", "icmpv6")
READS = {
    "vlan": "vlan.id", "vlan.inner": "vlan.inner.id", "arp": "arp.hardware_type", "ipv4": "ipv4.id", "ipv6": "ipv6.length",
    "ipv6_ext": "ipv6_ext.length", "tcp": "tcp.window", "udp": "udp.sport", "l4": "l4.dport", "icmp": "icmp.id",
    "icmpv6": "icmpv6.sequence",
}  # fmt: skip
COLUMNS = ("ipv4.src:32", "ipv6.dst:128", "l4.dport:16", "tcp.sport:16", "udp.sport:16", "vlan.id:12", "icmp.code:8", "eth.src:48")


class Careless:
    """Writes programs that guard their reads now and then."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def condition(self, depth: int) -> str:
        choice = self.random.random()
        if not depth or choice < 0.4:
            return self.random.choice(HEADERS)
        if choice < 0.55:
            return f"{READS[self.random.choice(HEADERS)]} < 100"
        if choice < 0.7:
            return f"not ({self.condition(depth - 1)})"
        return f"({self.condition(depth - 1)} {self.random.choice(('and', 'or'))} {self.condition(depth - 1)})"

    def body(self, depth: int, calls: tuple[str, ...] = ()) -> str:
        lines = []
        for _ in range(self.random.randint(1, 3)):
            choice = self.random.random()
            if choice < 0.45 and depth:
                other = f" else {{\n{self.body(depth - 1, calls)}\n}}" if self.random.random() < 0.4 else ""
                lines.append(f"if {self.condition(2)} {{\n{self.body(depth - 1, calls)}\n}}{other}")
            elif choice < 0.6:
                lines.append(self.random.choice(("drop", "next", "pass", *calls, *calls)))
            elif choice < 0.9:
                lines.append(f"m = u16({READS[self.random.choice(HEADERS)]})")
            else:
                lines.append("m = 1")
        return "\n".join(lines)

    def table(self, name: str) -> str:
        columns = self.random.sample(COLUMNS, self.random.randint(1, 3))
        names = [column.split(":")[0] for column in columns]
        if self.random.random() < 0.5:
            kinds = [self.random.choice(("exact", "range", "ternary")) for _ in columns]
            order = "order first"
        else:
            kinds = ["lpm" if n == "ipv4.src" and self.random.random() < 0.7 else "exact" for n in names]
            order = ""
        match = ", ".join(f"{n}: {kind}" for n, kind in zip(names, kinds, strict=True))
        actions = self.random.sample(("drop", "next", "one", "two"), 2)
        default = self.random.choice(("drop", "next"))
        return f"table {name} {{\nmatch {match}\naction {', '.join(actions)}\ndefault {default}\n{order}\n}}"

    def service(self) -> str:
        steps = []
        for index in range(self.random.randint(1, 4)):
            stage = f"stage s{index} {{\n{self.body(2, ('one', 'two'))}\n}}"
            steps.append(self.random.choice((stage, "t", "u", f"if {self.condition(1)} {{\nt\n}} else {{\nu\n}}")))
        return "\n".join(
            [
                "service careless {",
                "meta m: u16",
                f"action one {{\n{self.body(2, ('two',))}\n}}",
                f"action two {{\n{self.body(1)}\n}}",
                self.table("t"),
                self.table("u"),
                "chain ingress {",
                *steps,
                "}",
                "}",
            ]
        )

    def rules(self, schema: TableSchema) -> list[Rule]:
        made = []
        for _ in range(6):
            rule = Rule(tuple(self.pattern(schema, i) for i in range(len(schema.columns))), self.random.choice(schema.actions).name)
            if missing_columns(rule, schema) is None:
                made.append(rule)
        return made

    def pattern(self, schema: TableSchema, index: int) -> Pattern:
        column = schema.columns[index]
        if self.random.random() < 0.5 and (schema.ordered or column.kind != "exact"):
            return None
        top = column.type.maximum
        if column.kind == "range":
            return Interval(0, top)
        # Wide patterns, so that rules are hit: an exact column would hardly ever be.
        return MaskedValue(0, 0)


def accepted(text: str) -> Program | None:
    try:
        return resolve(parse_prelude(), parse(Source("careless.pcn", text)))[0]
    except CompileError as error:
        strange = [p for p in error.diagnostics if p.is_error and p.name not in ("header-may-be-absent", "header-never-present")]
        if strange:
            raise
        return None


def test_no_accepted_program_reads_an_absent_header() -> None:
    programs = runs = 0
    for seed in range(200):
        random = Random(seed)
        writer = Careless(random)
        program = accepted(writer.service())
        if program is None:
            continue
        programs += 1
        (service,) = program.services
        for _ in range(3):
            rules = {schema.name: writer.rules(schema) for schema in service.schemas}
            interpreter = Interpreter(program, service, rules)
            for _ in range(15):
                interpreter.run("ingress", random_frame(random))
                runs += 1
    assert programs > 30
    assert runs > 1000
