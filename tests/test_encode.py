"""Rules to map entries: every byte where the plan says, and fast enough for large tables."""

from __future__ import annotations

import sys

import pytest

from pcnc.manifest import ActionPlan, Classifier, ColumnPlan, ConfigPlan, Place, TablePlan
from pcnc.rules import ActionSchema, ColumnSchema, Interval, MaskedValue, MatchKind, Parameter, Pattern, Rule, TableSchema
from pcnc.types import IPV4_ADDR, IPV6_ADDR, Type, unsigned
from pcnc_runtime.encode import encode_rules, encode_settings
from pcnc_runtime.kernel_maps import MapFlag, MapType, create_map


def host(value: int, size: int) -> bytes:
    return value.to_bytes(size, sys.byteorder)


def schema(*columns: tuple[str, MatchKind, Type], parameters: tuple[Parameter, ...] = (), ordered: bool = False) -> TableSchema:
    actions = (ActionSchema("drop"), ActionSchema("mark", parameters))
    return TableSchema("t", tuple(ColumnSchema(*column) for column in columns), actions, ordered, 100)


def exact(value: int, bits: int) -> MaskedValue:
    return MaskedValue(value, (1 << bits) - 1)


def prefix(value: int, length: int, bits: int) -> MaskedValue:
    return MaskedValue(value, (1 << bits) - (1 << bits - length))


DROP = ActionPlan("drop", 3, ())


def test_a_hash_key_holds_its_fields_in_host_order_and_its_gaps_are_zero() -> None:
    table = schema(("a", "exact", unsigned(8)), ("b", "exact", unsigned(32)), ("c", "exact", unsigned(13)))
    plan = TablePlan(
        table="t",
        classifier="hash",
        key_size=12,
        value_size=8,
        present=0,
        columns=(
            ColumnPlan(0, Place(10, 1, 8), None),
            ColumnPlan(1, Place(0, 4, 32), None),
            ColumnPlan(2, Place(6, 2, 13), None),
        ),
        actions=(DROP,),
    )
    rule = Rule((exact(0xAB, 8), exact(0x01020304, 32), exact(0x1FFE, 13)), "drop")
    entries = encode_rules(plan, table, [(rule, 7)])
    assert entries.keys == host(0x01020304, 4) + bytes(2) + host(0x1FFE, 2) + bytes(2) + b"\xab\0"
    assert entries.values == host(3, 4) + host(7, 4)
    assert entries.count == 1


def test_arguments_lie_behind_the_head_and_each_action_has_its_own_places() -> None:
    parameters = (Parameter("out", unsigned(16)), Parameter("next", IPV6_ADDR))
    table = schema(("a", "exact", unsigned(16)), parameters=parameters)
    mark = ActionPlan("mark", 1, (Place(24, 2, 16), Place(8, 16, 128)))
    plan = TablePlan("t", "hash", 2, 32, 0, (ColumnPlan(0, Place(0, 2, 16), None),), (DROP, mark))
    address = 0x20010DB8 << 96 | 5
    rules = [(Rule((exact(1, 16),), "mark", (0x0102, address)), 1), (Rule((exact(2, 16),), "drop"), 2)]
    entries = encode_rules(plan, table, rules)
    assert entries.keys == host(1, 2) + host(2, 2)
    first = host(1, 4) + host(1, 4) + host(address, 16) + host(0x0102, 2) + bytes(6)
    assert entries.values == first + host(3, 4) + host(2, 4) + bytes(24)


def test_a_prefix_stands_big_endian_in_the_high_bits_and_counts_all_bits_before_it() -> None:
    table = schema(("vni", "exact", unsigned(24)), ("dst", "lpm", unsigned(20)))
    columns = (ColumnPlan(0, Place(4, 4, 24), None), ColumnPlan(1, Place(12, 4, 20), None))
    plan = TablePlan("t", "lpm_trie", 16, 8, 8, columns, (DROP,))
    rules = [
        (Rule((exact(0x010203, 24), prefix(0xABC00, 12, 20)), "drop"), 0),
        (Rule((exact(0x010203, 24), prefix(0, 0, 20)), "drop"), 0),
        (Rule((exact(0x010203, 24), None), "drop"), 0),
    ]
    keys = encode_rules(plan, table, rules).keys
    vni = bytes.fromhex("01020300")
    assert keys[:16] == host(32 + 32 + 12, 4) + vni + host(1, 4) + bytes.fromhex("abc00000")
    assert keys[16:32] == host(32 + 32, 4) + vni + host(1, 4) + bytes(4)
    assert keys[32:] == host(32, 4) + vni + bytes(8), "`*` is shorter than /0, and asks for no presence"


def test_a_list_keeps_the_order_and_says_of_each_rule_what_it_asks() -> None:
    table = schema(("src", "prefix", IPV4_ADDR), ("port", "range", unsigned(16)), ("flags", "ternary", unsigned(8)), ordered=True)
    columns = (
        ColumnPlan(0, Place(16, 4, 32), Place(20, 4, 32)),
        ColumnPlan(1, Place(24, 2, 16), Place(26, 2, 16)),
        ColumnPlan(2, Place(28, 1, 8), Place(29, 1, 8)),
    )
    plan = TablePlan("t", "list", 4, 32, 0, columns, (DROP,))
    rules = [
        (Rule((prefix(0x0A000000, 8, 32), Interval(80, 90), MaskedValue(0x02, 0x12)), "drop"), 5),
        (Rule((None, None, None), "drop"), 6),
        (Rule((None, exact(22, 16), None), "drop"), 7),
        (Rule((None, None, exact(0, 8)), "drop"), 8),
    ]
    entries = encode_rules(plan, table, rules)
    assert entries.keys == host(0, 4) + host(1, 4) + host(2, 4) + host(3, 4)
    values = [entries.values[index * 32 :][:32] for index in range(4)]
    head = host(3, 4)
    everything = host(0, 2) + host(0xFFFF, 2)
    first = host(0b111, 8) + host(0x0A000000, 4) + host(0xFF000000, 4) + host(80, 2) + host(90, 2) + b"\x02\x12\0\0"
    assert values[0] == head + host(5, 4) + first
    assert values[1] == head + host(6, 4) + host(0, 8) + bytes(8) + everything + bytes(4)
    assert values[2] == head + host(7, 4) + host(0b010, 8) + bytes(8) + host(22, 2) + host(22, 2) + bytes(4)
    assert values[3] == head + host(8, 4) + host(0b100, 8) + bytes(8) + everything + b"\0\xff\0\0"


def test_a_list_without_rules_has_one_entry_that_asks_for_what_no_packet_has() -> None:
    table = schema(("port", "range", unsigned(16)), ordered=True)
    plan = TablePlan("t", "list", 4, 24, 0, (ColumnPlan(0, Place(16, 2, 16), Place(18, 2, 16)),), (DROP,))
    entries = encode_rules(plan, table, [])
    assert entries.count == 1
    assert entries.keys == host(0, 4)
    assert entries.values == bytes(8) + host(1 << 63, 8) + bytes(8)


def test_columns_that_the_code_does_not_look_at_are_left_out() -> None:
    table = schema(("src", "prefix", IPV4_ADDR), ("port", "range", unsigned(16)), ordered=True)
    plan = TablePlan("t", "list", 4, 24, 0, (ColumnPlan(1, Place(16, 2, 16), Place(18, 2, 16)),), (DROP,))
    entries = encode_rules(plan, table, [(Rule((None, Interval(1, 2)), "drop"), 0)])
    assert entries.values == host(3, 4) + bytes(4) + host(1, 8) + host(1, 2) + host(2, 2) + bytes(4)


def test_wide_columns_of_a_list_are_in_host_order_too() -> None:
    table = schema(("src", "prefix", IPV6_ADDR), ordered=True)
    plan = TablePlan("t", "list", 4, 48, 0, (ColumnPlan(0, Place(16, 16, 128), Place(32, 16, 128)),), (DROP,))
    rule = Rule((prefix(0x20010DB8 << 96, 32, 128),), "drop")
    entries = encode_rules(plan, table, [(rule, 0)])
    assert entries.values[16:] == host(0x20010DB8 << 96, 16) + host(0xFFFFFFFF << 96, 16)


@pytest.mark.parametrize(
    ("classifier", "kind", "pattern"),
    [
        ("hash", "exact", None),
        ("hash", "exact", MaskedValue(0, 0xFF00)),
        ("hash", "exact", Interval(1, 2)),
        ("lpm_trie", "lpm", MaskedValue(0, 0x00FF)),
        ("lpm_trie", "lpm", Interval(1, 2)),
        ("list", "ternary", Interval(1, 2)),
        ("list", "range", MaskedValue(0, 0x00FF)),
    ],
)
def test_what_is_not_of_the_columns_kind_is_refused(classifier: Classifier, kind: MatchKind, pattern: Pattern) -> None:
    table = schema(("a", kind, unsigned(16)), ordered=classifier == "list")
    place = Place(16, 2, 16)
    plan = TablePlan("t", classifier, 24, 24, 4, (ColumnPlan(0, place, place),), (DROP,))
    with pytest.raises(ValueError, match="is no"):
        encode_rules(plan, table, [(Rule((pattern,), "drop"), 0)])


def test_an_action_that_the_code_does_not_know_is_refused() -> None:
    table = schema(("a", "exact", unsigned(16)))
    plan = TablePlan("t", "hash", 2, 8, 0, (ColumnPlan(0, Place(0, 2, 16), None),), (DROP,))
    with pytest.raises(ValueError, match="knows no action mark"):
        encode_rules(plan, table, [(Rule((exact(1, 16),), "mark"), 0)])


def test_settings_lie_where_their_plans_say_and_begin_with_the_files_values() -> None:
    plans = (ConfigPlan("wide", IPV6_ADDR, 1, Place(0, 16, 128)), ConfigPlan("port", unsigned(16), 80, Place(16, 2, 16)))
    assert encode_settings(24, plans, {}) == host(1, 16) + host(80, 2) + bytes(6)
    assert encode_settings(24, plans, {"port": 443}) == host(1, 16) + host(443, 2) + bytes(6)


@pytest.mark.kernel
def test_a_large_table_is_encoded_and_filled() -> None:
    count = 100_000
    table = schema(("src", "exact", IPV4_ADDR), ("proto", "exact", unsigned(8)), ("port", "exact", unsigned(16)))
    columns = (
        ColumnPlan(0, Place(0, 4, 32), None),
        ColumnPlan(1, Place(6, 1, 8), None),
        ColumnPlan(2, Place(4, 2, 16), None),
    )
    plan = TablePlan("t", "hash", 8, 8, 0, columns, (DROP,))
    rules = [(Rule((exact(number, 32), exact(6, 8), exact(number & 0xFFFF, 16)), "drop"), number) for number in range(count)]
    entries = encode_rules(plan, table, rules)
    with create_map(MapType.HASH, 8, 8, count, flags=MapFlag.RDONLY_PROG) as made:
        made.update_batch(entries.keys, entries.values, entries.count)
        assert len(list(made.items())) == count
        for at in (0, 8 * (count // 2), 8 * (count - 1)):
            assert made.lookup(entries.keys[at : at + 8]) == entries.values[at : at + 8]
