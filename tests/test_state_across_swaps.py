"""What lives on across a swap, live: the same kernel maps, or others with all that was in them, exact to the packet; and back."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

import pytest

from bench.traffic import Generator
from pcnc.cli.compile_service import recompile
from pcnc.rules import Interval, MaskedValue, Rule
from pcnc_runtime.compare_versions import Comparison, compare_versions
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.operations import (
    AddRule,
    change_rules,
    preview_swap,
    read_settings,
    read_table,
    read_version,
    rollback,
    set_configs,
    statistics,
    swap,
)
from pcnc_runtime.pins import list_pins, open_map
from pcnc_runtime.read_versions import version_of_bundle
from pcnc_runtime.state import place_of
from tests.live_service import Wire, chain, compiled, loaded, open_files, prefix, reason, udp

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))


def version(
    *clauses: str, rules: str = "20.0.0.0/8 -> next", beside: str = "", stage: str = "", table: str = "t", lines_before: int = 0
) -> str:
    """A service with one table, of which each clause replaces the usual one, and with settings and a stage."""
    usual = {"match": "match ipv4.src: lpm", "action": "action drop, next", "size": "size 8", "count": "count packets"}
    body = {**usual, **{clause.split()[0]: clause for clause in clauses}}
    lines = "; ".join(clause for clause in body.values() if clause != "count")
    return (
        "\n" * lines_before
        + f"service s {{ {beside}\n table {table} {{ {lines} }}\n rules {table} {{ {rules} }}\n"
        + f" chain ingress {{ {stage} {table} }} }}\n"
    )


def swap_to(name: str, text: str, discard: Collection[str] = ()) -> dict[str, str]:
    """Swaps, and holds the preview to be what was done; what became of each piece of state."""
    foreseen = fates(preview(name, text, discard))
    before = map_ids(name)
    made = compiled(text)
    swap(name, made.bundle, source=made.source, recompile=recompile, discard=discard)
    after = map_ids(name)
    for piece, fate in foreseen.items():
        if piece in before and piece in after:
            assert (before[piece] == after[piece]) == (fate == "kept"), f"{piece} is {fate}: {before} {after}"
    return foreseen


def preview(name: str, text: str, discard: Collection[str] = ()) -> Comparison:
    made = compiled(text)
    return preview_swap(name, made.bundle, source=made.source, recompile=recompile, discard=discard)


def fates(comparison: Comparison) -> dict[str, str]:
    return {f"{state.what} {state.name}": state.fate for state in comparison.maps}


KINDS = {"rules": "rules", "counters": "counts", "verdicts": "ends"}


def map_ids(name: str) -> dict[str, int]:
    """The kernel's ids of the live generation's maps of state, as a comparison calls these."""
    place = place_of(name)
    state = place.read()
    assert state is not None
    folder = place.generation(state.kept[0])
    found = {}
    for pinned in list_pins(folder):
        kind, _, rest = pinned.partition("_")
        if kind in KINDS:
            with open_map(folder / pinned) as opened:
                found[f"{KINDS[kind]} {rest}"] = opened.facts.id
    return found


def counted(name: str, table: str = "t") -> dict[int, tuple[int, int]]:
    """Packets and bytes by rule id, 0 the default."""
    found = statistics(name).table(table)
    assert found is not None
    counts = {id: (count.packets, count.bytes) for id, count in found.rules}
    return {**counts, 0: (found.default.packets, found.default.bytes)}


def packets(name: str, *ids: int) -> list[int]:
    found = counted(name)
    return [found[id][0] for id in ids]


def listed(name: str) -> list[tuple[int, str, str]]:
    return [(rule.id, rule.origin, rule.text) for rule in read_table(name, "t").rules]


SIZE = len(udp())


def test_what_stays_the_same_is_the_same_map(wire: Wire) -> None:
    kept = {"rules t": "kept", "counts t": "kept", "ends ingress": "kept"}
    with loaded(wire, version()) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        wire.send(udp("10.0.0.1"), 3)
        # Other lines, another setting, another stage with another way to end: tables do not mind.
        assert swap_to(name, version(lines_before=5)) == kept
        wire.send(udp("10.0.0.1"), 4)
        low = "stage low { if ipv4 { if ipv4.ttl < least { pass } } }"
        assert swap_to(name, version(beside="config least: u8 = 3", stage=low)) == {**kept, "ends ingress": "migrated"}
        ended = chain(name).packets
        assert ended >= 7
        assert packets(name, 2) == [7]
        rollback(name)
        wire.send(udp("10.0.0.1"), 2)
        assert packets(name, 2) == [9]


def test_a_wider_counter_and_one_that_rests(wire: Wire) -> None:
    with loaded(wire, version()) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        wire.send(udp("10.0.0.1"), 3)
        assert swap_to(name, version("count packets, bytes"))["counts t"] == "kept"
        wire.send(udp("10.0.0.1"), 2)
        assert counted(name)[2] == (5, 2 * SIZE), "bytes from now on"
        assert swap_to(name, version("count"))["counts t"] == "migrated"
        wire.send(udp("10.0.0.1"), 100)
        assert statistics(name).table("t") is None
        swap_to(name, version("count", lines_before=1))
        assert swap_to(name, version("count packets, bytes"))["counts t"] == "new"
        assert counted(name)[2] == (5, 2 * SIZE), "nobody counted in between"
        wire.send(udp("10.0.0.1"), 1)
        assert counted(name)[2] == (6, 3 * SIZE)
        rollback(name)
        assert statistics(name).table("t") is None
        rollback(name)
        assert counted(name)[2] == (6, 3 * SIZE)


def test_sizes_change_with_all_counts(wire: Wire) -> None:
    with loaded(wire, version()) as name:
        change_rules(name, [AddRule("t", prefix(f"10.{octet}.0.0/16")) for octet in range(4)])
        change_rules(name, [AddRule("t", prefix("11.0.0.0/8"))])
        for octet in range(4):
            wire.send(udp(f"10.{octet}.0.1"), octet + 1)
        wire.send(udp("20.0.0.1"), 5)
        wire.send(udp("30.0.0.1"), 2)
        wanted = [5, 1, 2, 3, 4, 0]
        assert packets(name, 1, 2, 3, 4, 5, 6) == wanted
        default = packets(name, 0)[0]
        assert default >= 2, "neighbours look for each other, too"
        assert swap_to(name, version("size 64"))["counts t"] == "migrated"
        wire.send(udp("10.3.0.1"), 1)
        assert packets(name, 1, 2, 3, 4, 5, 6) == [5, 1, 2, 3, 5, 0]
        rollback(name)
        wire.send(udp("10.3.0.1"), 1)
        assert packets(name, 1, 2, 3, 4, 5, 6) == [5, 1, 2, 3, 6, 0], "the counts of both"
        # Six rules fit, five do not; what was added last goes, where that is said to be no loss.
        assert swap_to(name, version("size 6"))["counts t"] == "migrated"
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, version("size 5"))
        assert caught.value.name == "rules-do-not-fit"
        assert "room for 5 rules, and 6 would be in it" in caught.value.message
        assert "--discard t" in caught.value.help
        swap_to(name, version("size 5"), ["t"])
        assert packets(name, 1, 2, 3, 4, 5) == [5, 1, 2, 3, 6]
        assert not wire.passes(udp("10.3.0.1"))
        assert wire.passes(udp("11.0.0.1")), "the rule that was dropped"
        rollback(name)
        assert not wire.passes(udp("11.0.0.1"))
        assert packets(name, 2, 3, 4) == [1, 2, 3]


def test_where_every_slot_is_known_counts_go_on_in_a_new_map(wire: Wire) -> None:
    first, second = ("; ".join(f"{octet}.0.0.0/8 -> next" for octet in octets) for octets in ((20, 21, 22), (22, 23, 24)))
    with loaded(wire, version("size 4", rules=first)) as name:
        wire.send(udp("22.0.0.1"), 3)
        assert swap_to(name, version("size 4", rules=second))["counts t"] == "migrated", "two new rules, and one slot is free"
        wire.send(udp("22.0.0.1"), 2)
        assert packets(name, 3, 4, 5) == [5, 0, 0]
        assert swap_to(name, version("size 4", rules=second, lines_before=1))["counts t"] == "kept"
        assert packets(name, 3, 4, 5) == [5, 0, 0]


def test_under_traffic_every_packet_is_counted_once_through_all_shapes(wire: Wire) -> None:
    """Rules of the operator go through every shape and back while packets flow; what they counted is what was sent."""
    shapes = (
        version("size 64"),
        version("match ipv4.src: prefix", "order first", "count packets, bytes"),
        version("match ipv4.src: prefix, l4.dport: range", "order first", rules="ipv4.src=20.0.0.0/8 -> next"),
        version("match ipv4.src: ternary", "order first", "size 16", stage="stage low { if udp { if udp.dport == 1 { drop } } }"),
        version(),
    )
    with loaded(wire, version()) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8")), AddRule("t", prefix("10.1.0.0/16"))])
        before = sum(count for count, _ in counted(name).values())
        with Generator(wire.left, "eth0", udp("10.0.0.1"), udp("10.1.0.1"), udp("20.0.0.1"), rate=50_000) as generator:
            while generator.sent < 1000:
                time.sleep(0.01)
            for index in range(3):
                for shape in shapes:
                    swap_to(name, shape)
                rollback(name)
                if index % 2:
                    rollback(name)
            sent = generator.stop()
        assert generator.overruns == 0
        found = counted(name)
        assert sum(count for count, _ in found.values()) == before + sent, found
        # The generator sends its packets in turns.
        assert all(abs(found[id][0] - sent / 3) <= 1 for id in (1, 2, 3)), (found, sent)
        assert chain(name).packets == sum(count for _, count in chain(name).reasons)
        assert reason(name, "drop: tail call") == reason(name, "drop: internal") == 0


def test_columns_come_and_go(wire: Wire) -> None:
    first = version("match ipv4.src: prefix", "order first")
    more = version("match ipv4.src: prefix, l4.dport: range", "order first", rules="ipv4.src=20.0.0.0/8 -> next")
    with loaded(wire, first) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        wire.send(udp("10.0.0.1"), 3)
        assert swap_to(name, more) == {"rules t": "migrated", "counts t": "kept", "ends ingress": "kept"}
        assert listed(name) == [(2, "operator", "ipv4.src=10.0.0.0/8 -> drop"), (1, "file", "ipv4.src=20.0.0.0/8 -> next")]
        wire.send(udp("10.0.0.1"), 2)
        assert packets(name, 2) == [5]
        swap_to(name, first)
        wire.send(udp("10.0.0.1"), 2)
        assert packets(name, 2) == [7], "it asked nothing of the port"
        rollback(name)
        change_rules(name, [AddRule("t", Rule((None, Interval(7, 7)), "drop"))])
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, first)
        assert "rule 3 of `t` (`l4.dport=7 -> drop`): the table does not match `l4.dport` any more" in caught.value.message
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, version("match ipv4.src: lpm, ipv4.proto: exact", rules="ipv4.proto=tcp -> next"))
        assert len(caught.value.misfits[0].rules) == 2, "all at once"
        assert "!    match ipv4.proto" in caught.value.message
        swap_to(name, first, ["t"])
        assert packets(name, 2) == [7]
        assert wire.passes(udp("12.0.0.1", dport=7))
        rollback(name)
        assert not wire.passes(udp("12.0.0.1", dport=7))


def test_the_longest_prefix_still_wins_where_the_first_rule_does(wire: Wire) -> None:
    file = "10.1.2.0/24 -> drop; 20.0.0.0/8 -> next"
    with loaded(wire, version(rules=file)) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8")), AddRule("t", prefix("10.1.0.0/16", "next"))])
        sources = ["10.0.0.1", "10.1.0.1", "10.1.2.1", "20.0.0.1"]
        verdicts = [False, True, False, True]
        assert [wire.passes(udp(source)) for source in sources] == verdicts
        before = packets(name, 1, 2, 3, 4)
        ordered = version("match ipv4.src: prefix", "order first", rules=file)
        assert swap_to(name, ordered)["rules t"] == "migrated"
        assert [id for id, *_ in listed(name)] == [1, 4, 3, 2]
        for source in sources:
            wire.send(udp(source))
        assert packets(name, 1, 2, 3, 4) == [count + 1 for count in before]
        assert [wire.passes(udp(source)) for source in sources] == verdicts
        now = packets(name, 1, 2, 3, 4)
        swap_to(name, version(rules=file))
        assert [wire.passes(udp(source)) for source in sources] == verdicts
        rollback(name)
        assert [wire.passes(udp(source)) for source in sources] == verdicts
        # A slow machine may have had to send one of them again.
        assert all(after >= before + 2 for after, before in zip(packets(name, 1, 2, 3, 4), now, strict=True))
        change_rules(name, [AddRule("t", prefix("10.0.0.0/7", "next"), at=1)])
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, version(rules=file))
        assert "it came before rule 1, whose prefix is longer and would win without order" in caught.value.message


def test_actions_and_their_parameters(wire: Wire) -> None:
    def marking(type: str, name: str = "mark") -> str:
        action = f"meta m: u32\naction {name}(x: {type}) {{ m = x }}"
        return version(f"action {name}, next", beside=action, stage="").replace(
            " t }", " t; stage judge { if m == 200 { drop } } }"
        )

    with loaded(wire, marking("u8")) as name:
        rule = prefix("10.0.0.0/8", "mark")
        change_rules(name, [AddRule("t", Rule(rule.matches, "mark", (200,)))])
        wire.send(udp("10.0.0.1"), 2)
        assert swap_to(name, marking("u32"))["counts t"] == "kept"
        assert not wire.passes(udp("10.0.0.1"))
        assert packets(name, 2)[0] >= 3
        change_rules(name, [AddRule("t", Rule(prefix("11.0.0.0/8").matches, "mark", (256,)))])
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, marking("u8"))
        assert "256 does not fit `x` of `mark`, which is of type u8 now" in caught.value.message
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, marking("u32", "label"))
        assert "no action `mark` any more" in caught.value.message
        assert not wire.passes(udp("10.0.0.1"))


def test_settings_of_another_type_and_those_that_go(wire: Wire) -> None:
    def limiting(*settings: str) -> str:
        beside = "\n".join(f"config {setting}" for setting in settings)
        return version(beside=beside, stage="stage low { if udp { if udp.dport == closed { drop } } }")

    with loaded(wire, limiting("closed: u16 = 7", "spare: u8 = 1")) as name:
        set_configs(name, {"closed": 300})
        assert not wire.passes(udp(dport=300))
        swap_to(name, limiting("closed: u32 = 9", "added: u8 = 5"))  # nobody set `spare`
        assert not wire.passes(udp(dport=300))
        assert {each.plan.name: each.value for each in read_settings(name)} == {"closed": 300, "added": 5}
        for other in (limiting("closed: u8 = 9"), version()):
            with pytest.raises(RuntimeProblem) as caught:
                swap_to(name, other)
            assert caught.value.name == "settings-do-not-fit"
            assert "--discard closed" in caught.value.help
        swap_to(name, limiting("closed: u8 = 9"), ["closed"])
        assert wire.passes(udp(dport=300))
        assert not wire.passes(udp(dport=9))
        rollback(name)
        assert not wire.passes(udp(dport=300)), "the value is back"


def test_a_table_goes_only_where_that_was_said(wire: Wire) -> None:
    with loaded(wire, version()) as name:
        other = version(table="u")
        assert swap_to(name, other) == {
            "rules u": "new",
            "rules t": "gone",
            "counts u": "new",
            "counts t": "gone",
            "ends ingress": "migrated",
        }
        rollback(name)
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        wire.send(udp("10.0.0.1"), 3)
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, other, ["all the same"])
        assert caught.value.name == "nothing-to-discard"
        with pytest.raises(RuntimeProblem) as caught:
            swap_to(name, other)
        assert "there is no such table" in caught.value.message
        swap_to(name, other, ["all"])
        assert wire.passes(udp("10.0.0.1"))
        rollback(name)
        wire.send(udp("10.0.0.1"), 1)
        assert packets(name, 2) == [4], "rolled back with its counts"


def test_a_preview_changes_nothing(wire: Wire) -> None:
    with loaded(wire, version()) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        place = place_of(name)

        def everything() -> object:
            files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in place.folder.rglob("*") if path.is_file()}
            return files, sorted(place.pins.rglob("*")), map_ids(name), open_files()

        before = everything()
        found = preview(name, version("size 64", beside="config new: u8 = 1"))
        assert fates(found) == {"rules t": "kept", "counts t": "migrated", "ends ingress": "kept"}
        refused = preview(name, version("action next"))
        assert [misfit.name for misfit in refused.refused] == ["t"]
        assert fates(refused)["rules t"] == "lost"
        assert everything() == before


def test_what_is_loaded_is_compared_by_its_instructions(wire: Wire) -> None:
    text = version(beside="config least: u8 = 3", stage="stage low { if ipv4 { if ipv4.ttl < least { pass } } }")
    with loaded(wire, text) as name:
        change_rules(name, [AddRule("t", prefix("10.0.0.0/8"))])
        running = read_version(name)
        moved = compiled("# other lines, same code\n" + text)
        for other in (moved, compiled(text.replace("ipv4.ttl <", "ipv4.ttl <="))):
            built = version_of_bundle("new", other.bundle)
            (chain,) = compare_versions(running, built).chains
            rebuilt = [block.name for block in chain.blocks if block.change != "kept"]
            assert rebuilt == ([] if other is moved else ["low"])
            (chain,) = compare_versions(built, running).chains
            assert [block.name for block in chain.blocks if block.change == "rebuilt"] == rebuilt


def test_a_narrower_mask_is_still_the_same_rule(wire: Wire) -> None:
    ternary = version("match l4.dport: ternary", "order first", rules="80 -> next")
    ranges = version("match l4.dport: range", "order first", rules="80 -> next")
    with loaded(wire, ternary) as name:
        change_rules(name, [AddRule("t", Rule((MaskedValue(1024, 0xFFF0),), "drop"))])
        swap_to(name, ranges)
        assert listed(name)[0] == (2, "operator", "1024..1039 -> drop")
        assert [wire.passes(udp(dport=port)) for port in (1023, 1024, 1039, 1040)] == [True, False, False, True]
