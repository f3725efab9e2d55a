"""What goes over to another version: rules into tables of another shape, settings of another type, and what does not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcnc.lookup import lookup
from pcnc.manifest import Manifest
from pcnc.program import Table
from pcnc.rule_values import format_rule
from pcnc.rules import MaskedValue, Pattern, Rule
from pcnc_ebpf.plan import plan_manifest
from pcnc_runtime.discards import refuse
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.live_rules import LiveRule, rules_of_file
from pcnc_runtime.take_over import Held, TakenOver, take_over
from tests.pcn_text import program_of, rules_of


@cache
def manifest_of(text: str) -> Manifest:
    program, service = program_of(text)
    manifest, _ = plan_manifest(program, service, "xdp", [])
    return manifest


def table(*clauses: str, rules: Sequence[str] = (), beside: str = "") -> str:
    """A service with one table `t`; clauses not given are those of an lpm table."""
    given = {clause.split()[0]: clause for clause in clauses}
    wanted = {"match": "match ipv4.src: lpm", "action": "action drop, next", **given}
    body = "; ".join(wanted.values())
    return f"service s {{ {beside}\n table t {{ {body} }}\n rules t {{ {'; '.join(rules)} }}\n chain ingress {{ t }} }}\n"


def held(text: str, *mine: str, settings: Mapping[str, int] | None = None) -> Held:
    """A running service with these rules of the operator behind the file's."""
    _, service = program_of(text)
    file = rules_of_file(service.tables[0].rules)
    added = [
        LiveRule(file.next_id + index, "operator", rule, 10 + index)
        for index, rule in enumerate(rules_of(service, "t", "\n".join(mine)))
    ]
    return Held({"t": (*added, *file.rules)}, settings or {}, {"t": file.next_id + len(added)})


def over(old: str, new: str, *mine: str, discard: Collection[str] = ()) -> TakenOver:
    return take_over(manifest_of(old), held(old, *mine), manifest_of(new), discard)


def written(taken: TakenOver, new: str) -> list[tuple[int, str]]:
    schema = manifest_of(new).table("t").schema
    return [(rule.id, format_rule(rule.rule, schema)) for rule in taken.rules("t")]


def unfit(old: str, new: str, *mine: str) -> list[tuple[int, str]]:
    """The rules that do not fit, each with its reason."""
    return [(rule.id, rule.reason) for misfit in over(old, new, *mine).refused for rule in misfit.rules]


# ---- tables that stay as they are


def test_rules_that_stay_as_they_are_are_the_same_object() -> None:
    old, new = table(rules=["10.0.0.0/8 -> drop"]), table("count packets", rules=["10.0.0.0/8 -> drop"])
    running = held(old, "11.0.0.0/8 -> drop")
    running = Held({"t": tuple(sorted(running.rules["t"], key=lambda rule: rule.id))}, {}, running.next_ids)
    taken = take_over(manifest_of(old), running, manifest_of(new))
    assert taken.rules("t") is running.rules["t"], "then so is the kernel's map"


# ---- columns

TWO = table("match ipv4.proto: exact, ipv4.src: lpm")
LIST = table("match ipv4.src: prefix, l4.dport: range, ipv4.proto: ternary", "order first")
ZONE = "meta zone: {}"


def zone(type: str, kind: str = "exact", *clauses: str) -> str:
    return table(f"match zone: {kind}", *clauses, beside=ZONE.format(type))


@pytest.mark.parametrize(
    ("old", "new", "rule", "becomes"),
    [
        # An added column is `*`, where that may stand.
        (table("match ipv4.proto: exact"), TWO, "17 -> drop", "ipv4.proto=udp -> drop"),
        (
            LIST,
            table("match ipv4.src: prefix, ipv4.ttl: exact", "order first"),
            "ipv4.src=10.0.0.0/8 -> drop",
            "ipv4.src=10.0.0.0/8 -> drop",
        ),
        # One that is gone was `*`.
        (LIST, table("match l4.dport: range", "order first"), "l4.dport=1..2 -> drop", "1..2 -> drop"),
        (TWO, table("match ipv4.proto: exact"), "ipv4.proto=6 -> drop", "tcp -> drop"),
        # The same set of values, matched in another way.
        (table(), table("match ipv4.src: prefix", "order first"), "10.0.0.0/8 -> drop", "10.0.0.0/8 -> drop"),
        (table(), table("match ipv4.src: ternary", "order first"), "10.0.0.0/8 -> drop", "10.0.0.0/8 -> drop"),
        (table(), table("match ipv4.src: exact"), "10.0.0.1 -> drop", "10.0.0.1 -> drop"),
        (table("match ipv4.src: exact"), table(), "10.0.0.1 -> drop", "10.0.0.1 -> drop"),
        (zone("u16", "exact"), zone("u16", "range", "order first"), "7 -> drop", "7 -> drop"),
        (zone("u16", "range", "order first"), zone("u16", "ternary", "order first"), "16..31 -> drop", "0x10 &&& 0xfff0 -> drop"),
        (zone("u16", "ternary", "order first"), zone("u16", "range", "order first"), "0x10 &&& 0xfff0 -> drop", "16..31 -> drop"),
        # Wider types, and narrower ones that the value fits.
        (zone("u8"), zone("u16"), "255 -> drop", "255 -> drop"),
        (zone("u16"), zone("u8"), "255 -> drop", "255 -> drop"),
        (zone("u8", "range", "order first"), zone("u16", "range", "order first"), "1..255 -> drop", "1..255 -> drop"),
        (zone("u8", "ternary", "order first"), zone("u16", "ternary", "order first"), "1 &&& 3 -> drop", "0x1 &&& 0x3 -> drop"),
        # Arguments follow their parameters' names.
        (
            table("action set", beside="meta a: u8\nmeta b: u16\naction set(x: u8, y: u16) { a = x\nb = y }"),
            table("action set", beside="meta a: u8\nmeta b: u32\naction set(y: u32, x: u8) { a = x\nb = y }"),
            "10.0.0.0/8 -> set(1, 2)",
            "10.0.0.0/8 -> set(2, 1)",
        ),
    ],
)
def test_a_rule_goes_over(old: str, new: str, rule: str, becomes: str) -> None:
    taken = over(old, new, rule)
    assert taken.misfits == ()
    assert written(taken, new) == [(1, becomes)]
    assert taken.rules("t")[0].slot == 10, "with its counter"


SET = "meta a: u32\naction set({}) {{ a = x }}"


def action(*parameters: str) -> str:
    return table("action set, next", beside=SET.format(", ".join(parameters)))


@pytest.mark.parametrize(
    ("old", "new", "rule", "reason"),
    [
        (table(), TWO, "10.0.0.0/8 -> drop", "the table matches `ipv4.proto` exactly now, and `*` cannot stand for it"),
        (TWO, table(), "ipv4.proto=6 -> drop", "the table does not match `ipv4.proto` any more"),
        (table(), table("match ipv4.src: exact"), "10.0.0.0/8 -> drop", "matched by exact now, and 10.0.0.0/8 is no single value"),
        (
            zone("u16", "range", "order first"),
            zone("u16", "ternary", "order first"),
            "1..2 -> drop",
            "matched by ternary now, and 1..2 is no value with a mask",
        ),
        (zone("u16", "ternary", "order first"), zone("u16", "range", "order first"), "1 &&& 5 -> drop", "0x1 &&& 0x5 is no range"),
        (zone("u16"), zone("u8"), "256 -> drop", "256 does not fit `zone`, which is of type u8 now"),
        (zone("u16", "range", "order first"), zone("u8", "range", "order first"), "1..256 -> drop", "1..256 does not fit `zone`"),
        (zone("u32"), zone("ipv4_addr"), "1 -> drop", "`zone` is of type ipv4_addr now, and was of type u32"),
        (table(), table("action deny, next", beside="action deny { drop }"), "10.0.0.0/8 -> drop", "no action `drop` any more"),
        (action("x: u16"), action("x: u8"), "10.0.0.0/8 -> set(256)", "256 does not fit `x` of `set`, which is of type u8 now"),
        (action("x: u8"), action("x: u8", "y: u8"), "10.0.0.0/8 -> set(1)", "`set` has other parameters now"),
    ],
)
def test_a_rule_does_not_fit(old: str, new: str, rule: str, reason: str) -> None:
    ((id, why),) = unfit(old, new, rule)
    assert id == 1
    assert reason in why
    assert over(old, new, rule, discard=["t"]).refused == ()
    assert over(old, new, rule, discard=["all"]).rules("t") == ()


def test_members_of_an_enum_keep_their_values_or_nothing_fits() -> None:
    def colours(members: str) -> str:
        return f"enum colour: u8 {{ {members} }}\n" + table("match shade: exact", beside="meta shade: colour")

    old = colours("red = 1, blue = 2")
    assert written(over(old, more := colours("red = 1, blue = 2, green = 3"), "blue -> drop"), more) == [(1, "blue -> drop")]
    assert unfit(old, colours("red = 2, blue = 3"), "blue -> drop") == [(1, "`red` of colour is 2 now, and was 1")]


# ---- sizes


def test_a_smaller_table_keeps_all_or_says_which_have_no_room() -> None:
    mine = [f"10.{index}.0.0/16 -> drop" for index in range(4)]
    small = table("size 4", rules=["10.0.0.0/16 -> drop"])
    assert len(over(table(), small, *mine).rules("t")) == 4, "the file's is one of them"
    small = table("size 3", rules=["11.0.0.0/8 -> drop"])
    assert [id for id, _ in unfit(table(), small, *mine)] == [3, 4], "those that were added last"
    taken = over(table(), small, *mine, discard=["t"])
    assert written(taken, small) == [(1, "10.0.0.0/16 -> drop"), (2, "10.1.0.0/16 -> drop"), (5, "11.0.0.0/8 -> drop")]


# ---- order

FIRST = table("match ipv4.src: prefix", "order first")


def test_longer_prefixes_come_first_where_order_comes() -> None:
    new = table("match ipv4.src: prefix", "order first", rules=["10.1.2.0/24 -> drop", "10.0.0.0/8 -> drop"])
    mine = ["* -> next", "10.1.0.0/16 -> next", "10.1.2.3 -> next", "11.0.0.0/8 -> next"]
    assert [id for id, _ in written(over(table(), new, *mine), new)] == [3, 4, 5, 2, 6, 1]


def test_a_rule_without_a_place_that_keeps_its_meaning_does_not_fit() -> None:
    new = table("match ipv4.src: prefix", "order first", rules=["10.0.0.0/8 -> drop", "10.1.2.0/24 -> drop"])
    ((id, reason),) = unfit(table(), new, "10.1.0.0/16 -> next", "11.0.0.0/8 -> next")
    assert id == 1
    assert "no place among the file's rules gives it its meaning" in reason


def test_a_wider_rule_before_a_narrower_one_does_not_fit_where_order_goes() -> None:
    reason = "rule 1 came before it and covers it; without order the longer prefix would win"
    assert unfit(FIRST, table(), "10.0.0.0/8 -> drop", "10.1.0.0/16 -> next") == [(2, reason)]
    assert unfit(FIRST, table(), "10.1.0.0/16 -> next", "10.0.0.0/8 -> drop") == []
    assert unfit(FIRST, table(), "10.0.0.0/8 -> drop", "10.1.0.0/16 -> drop") == [], "they do the same"
    same = "rule 1 has the same match, and the table has no order any more"
    assert unfit(FIRST, table(), "10.0.0.0/8 -> drop", "10.0.0.0/8 -> next") == [(2, same)]
    file = ["10.1.0.0/16 -> next"]
    old, new = table("match ipv4.src: prefix", "order first", rules=file), table(rules=file)
    assert unfit(old, new, "10.0.0.0/8 -> drop") == [
        (2, "it came before rule 1, whose prefix is longer and would win without order")
    ]


def _prefix(length: int, value: int) -> Pattern:
    mask = (1 << 32) - (1 << 32 - length)
    return MaskedValue((value << 29) & mask, mask)


PATTERNS = st.one_of(st.none(), st.builds(_prefix, st.integers(0, 3), st.integers(0, 7)))
RULES = st.lists(
    st.builds(lambda pattern, action: Rule((pattern,), action), PATTERNS, st.sampled_from(["drop", "next"])),
    max_size=6,
    unique_by=lambda rule: rule.matches,
)
SOURCES: list[int | None] = [None, *(value << 29 for value in range(8))]


@cache
def table_of(text: str) -> Table:
    _, service = program_of(text)
    return service.tables[0]


def hit(text: str, rules: Sequence[LiveRule], source: int | None) -> LiveRule | None:
    """The rule that decides about a packet, by what defines the language."""
    number = lookup(table_of(text), [rule.rule for rule in rules], [source])
    return rules[number - 1] if number else None


@given(RULES, RULES, st.booleans(), st.randoms(use_true_random=False))
def test_whoever_decided_decides_when_order_comes_or_goes(mine: list[Rule], file: list[Rule], comes: bool, random: object) -> None:
    """The file says the same in both versions; what fits decides about the same packets as before, and about no others."""
    old, new = (table(), FIRST) if comes else (FIRST, table())
    of_file = rules_of_file(file)
    there = {rule.matches for rule in file}
    added = [
        LiveRule(50 + index, "operator", rule) for index, rule in enumerate(rule for rule in mine if rule.matches not in there)
    ]
    rules = (*added, *of_file.rules)
    before, after = manifest_of(old), manifest_of(new)
    after = _with_rules(after, tuple(file))
    taken = take_over(before, Held({"t": rules}, {}, {"t": 100}), after, ["t"])
    left_out = {rule.id for misfit in taken.misfits for rule in misfit.rules}
    without = tuple(rule for rule in rules if rule.id not in left_out)
    for source in SOURCES:
        then, now = hit(old, without, source), hit(new, taken.rules("t"), source)
        if then is not None and then.origin == "operator":
            assert now is not None
            assert now.rule.action == then.rule.action
            assert not comes or now.id == then.id
        elif now is not None and now.origin == "operator":
            assert then is not None
            assert now.rule.action == then.rule.action


def _with_rules(manifest: Manifest, rules: tuple[Rule, ...]) -> Manifest:
    from dataclasses import replace

    return replace(manifest, tables=tuple(replace(entry, rules=rules) for entry in manifest.tables))


# ---- tables that come and go, settings


def test_a_table_that_goes_takes_only_the_files_rules_with_it() -> None:
    other = (
        table(rules=["10.0.0.0/8 -> drop"]).replace("table t", "table u").replace("rules t", "rules u").replace("{ t }", "{ u }")
    )
    (misfit,) = over(table(), other, "11.0.0.0/8 -> drop").refused
    assert (misfit.name, misfit.reason, misfit.shape[0].after) == ("t", "there is no such table", "")
    assert over(table(rules=["11.0.0.0/8 -> drop"]), other).refused == ()
    assert over(table(), other, "11.0.0.0/8 -> drop", discard=["t"]).held.next_ids == {"t": 2, "u": 2}, "an id is given once"


def settings(*lines: str) -> str:
    return table(beside="\n".join(f"config {line}" for line in lines))


def test_settings_go_over_where_their_values_fit() -> None:
    old = settings("a: u8 = 1", "b: u16 = 2", "c: u16 = 3", "d: u8 = 4", "e: u8 = 5")
    new = settings("a: u16 = 7", "b: u8 = 7", "c: u8 = 7", "f: u8 = 7")
    given = {"a": 255, "b": 255, "c": 256, "d": 4}
    taken = take_over(manifest_of(old), held(old, settings=given), manifest_of(new))
    assert taken.held.settings == {"a": 255, "b": 255}
    assert [(misfit.name, misfit.reason) for misfit in taken.refused] == [
        ("c", "256 does not fit `c`, which is of type u8 now"),
        ("d", "it was set to 4, and the new version does not have it"),
    ]
    problem = refuse(taken.refused)
    assert problem.name == "settings-do-not-fit"
    assert "--discard c --discard d" in problem.help
    taken = take_over(manifest_of(old), held(old, settings=given), manifest_of(new), ["c"])
    assert [misfit.name for misfit in taken.refused] == ["d"], "only what is named may be lost"


# ---- the refusal


def test_everything_is_told_at_once_with_both_shapes() -> None:
    old = table("count packets", beside="config least: u16 = 1")
    new = table("match ipv4.src: lpm, ipv4.proto: exact", "size 8", beside="config least: u8 = 1")
    taken = take_over(manifest_of(old), held(old, "10.0.0.0/8 -> drop", settings={"least": 300}), manifest_of(new))
    problem = refuse(taken.refused)
    assert problem.name == "rules-do-not-fit"
    assert problem.message.splitlines() == [
        "1 of the operator's rules and 1 setting do not fit the new version",
        "     table t             old             new",
        "       match ipv4.src    lpm, ipv4_addr  lpm, ipv4_addr",
        "  !    match ipv4.proto  -               exact, ip_proto",
        "       action drop       drop            drop",
        "       action next       next            next",
        "       default           next            next",
        "       order             none            none",
        "  !    size              1,024           8",
        "  !    count             packets         nothing",
        "      rule 1 of `t` (`10.0.0.0/8 -> drop`): the table matches `ipv4.proto` exactly now, and `*` cannot stand for it",
        "     setting least  old  new",
        "  !    type         u16  u8",
        "       default      1    1",
        "  !    value        300  -",
        "      setting `least`: 300 does not fit `least`, which is of type u8 now",
    ]
    assert problem.help == "--discard t --discard least drops what does not fit, and nothing else"
    assert [misfit.name for misfit in problem.misfits] == ["t", "least"]


def test_only_what_there_is_can_be_discarded() -> None:
    with pytest.raises(RuntimeProblem) as caught:
        over(table(), table(), discard=["tt"])
    assert caught.value.name == "nothing-to-discard"
    assert "`t`" in caught.value.help
