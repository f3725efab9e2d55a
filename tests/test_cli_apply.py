"""`pcnc apply`: files of changes on a loaded service, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import pcnc
from tests.live_service import FIREWALL, Wire, udp
from tests.loaded_by_command import Service, loaded

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

ORDERED = """
    table acl {
        match   ipv4.src: prefix, l4.dport: range
        action  drop, next
        default next
        order   first
        size    3
    }
"""


@pytest.fixture
def service(wire: Wire, tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "fw.pcn"
    path.write_text(FIREWALL.replace("chain ingress {", f"{ORDERED}    chain ingress {{ acl;"))
    with loaded(wire, path) as made:
        yield made


@pytest.fixture
def changes(tmp_path: Path) -> Path:
    return tmp_path / "fw.changes"


def test_a_file_is_one_generation(service: Service, changes: Path) -> None:
    changes.write_text(
        """# both ends of it
        add sources 10.0.0.0/8 -> drop; add destinations 192.0.2.7 -> drop
        add sources { 11.0.0.0/8 -> drop
                      12.0.0.0/8 -> drop }
        delete sources 11.0.0.0/8
        add acl last l4.dport=22 -> drop
        add acl at 1 l4.dport=23 -> drop
        """
    )
    done = service.run("apply", changes).check()
    assert f"{service.name}: generation 2 is in force" in done.output
    assert "  sources: 2 added (ids 1, 3)\n" in done.output
    assert "  destinations: 1 added (id 1)\n" in done.output
    assert [rule for _, _, rule in service.listed("acl")] == ["l4.dport=23 -> drop", "l4.dport=22 -> drop"]
    passing = [udp("10.0.0.1"), udp("11.0.0.1"), udp("11.0.0.1", "192.0.2.7"), udp("11.0.0.1", dport=22)]
    assert [service.wire.passes(packet) for packet in passing] == [False, True, False, False]
    done = service.run("apply", "-", "--json", given="flush acl\nreplace sources { 12.0.0.0/8 -> next }").check()
    assert done.json["generation"] == 3
    assert [(each["table"], each["added"], each["removed"], each["replaced"]) for each in done.json["rules"]] == [
        ("sources", [], [1], [3]),
        ("acl", [], [2, 1], []),
    ]
    assert service.run("history", "--json").check().json[-1]["what"] == "rules"


def test_everything_that_is_wrong_is_told_and_nothing_is_done(service: Service, changes: Path) -> None:
    service.rules("sources", "add", "10.0.0.0/8 -> drop").check()
    changes.write_text(
        """add sources 10.0.0.0/8 -> next
add sorces 11.0.0.0/8 -> drop
ad sources 11.0.0.0/8 -> drop
delete sources 12.0.0.0/8
delete destinations id 77
add destinations 13.0.0.0/8 -> drop
add destinations 13.0.0.0/8 -> next
add acl {
    l4.dport=1 -> drop
    l4.dport=2 -> drop
    l4.dport=3 -> drop
    l4.dport=4 -> drop
}
add acl before 99 l4.dport=5 -> drop
add sources 14.0.0.0/8 -> dorp
delete sources 14.0.0.0/8
delete sources id 1
delete sources id 1
"""
    )
    before = service.show()
    done = service.run("apply", changes)
    assert done.status == 1
    told = done.is_civil().errors
    expected = [
        ("rule-exists", 1, "delete rule 1 first"),
        ("unknown-table", 2, "did you mean `sources`?"),
        ("unknown-change", 3, "did you mean `add`?"),
        ("no-such-rule", 4, ""),
        ("no-such-rule", 5, ""),
        ("rule-exists", 7, "keep one of them"),
        ("table-full", 12, ""),
        ("no-such-rule", 14, ""),
        ("action-not-in-table", 15, "did you mean `drop`?"),
        ("no-such-rule", 18, ""),
    ]
    pieces = told.split("error[")[1:]
    found = [(piece.partition("]")[0], int(piece.partition(f"--> {changes}:")[2].partition(":")[0])) for piece in pieces]
    assert found == [(name, line) for name, line, _ in expected]
    for piece, (_, _, help) in zip(pieces, expected, strict=True):
        assert help in piece
        assert "^" in piece
    assert f"note: the first one is here, and says `drop`\n --> {changes}:6:18" in told
    assert f"note: it was deleted here\n  --> {changes}:17:1" in told
    assert told.endswith("\n10 errors\n")
    assert service.show() == before
    places = [each["line"] for each in service.run("apply", changes, "--json").json["diagnostics"]]
    assert places == [line for _, line, _ in expected]


def test_what_only_the_service_knows_is_told_with_its_line_too(service: Service, changes: Path) -> None:
    changes.write_text("add sources 10.0.0.0/8 -> drop\nadd sources at 1 11.0.0.0/8 -> drop\n" + "delete sources id 9\n" * 30)
    told = service.run("apply", changes).refused("bad-position")
    assert f"{changes}:2:18" in told
    assert "error[more-change-problems]: 11 more changes have problems from here on" in told
    assert f"{changes}:22:1" in told


def test_a_dry_run_and_a_file_without_changes(service: Service, changes: Path) -> None:
    changes.write_text("add sources 10.0.0.0/8 -> drop")
    before = service.show()
    assert "this can be done; nothing was changed" in service.run("apply", changes, "--dry-run").check().output
    changes.write_text("# nothing yet\n\n")
    assert service.run("apply", changes).check().output == f"{service.name}: {changes} says no change; nothing was changed\n"
    done = service.run("apply", "-", "--json").check().json
    assert (done["changed"], done["generation"]) == (False, 1)
    done = service.run("apply", "-", given="add sources 10.0.0.0/8 -> drop; delete sources 10.0.0.0/8").check()
    assert done.output == f"{service.name}: nothing to change; generation 1 stays in force\n"
    assert service.show() == before
    service.run("apply", changes.with_name("none")).refused("no-such-file")
    pcnc("apply", "nobody", changes).refused("not-loaded")


def test_a_hundred_thousand_changes(wire: Wire, tmp_path: Path, changes: Path) -> None:
    source = tmp_path / "large.pcn"
    source.write_text(FIREWALL.replace("1k", "64k"))
    networks = [f"{number >> 8 & 255}.{number & 255}" for number in range(256, 50_256)]
    changes.write_text("".join(f"add sources {each}.0.0/16 -> drop\nadd destinations {each}.0.1 -> drop\n" for each in networks))
    with loaded(wire, source) as service:
        done = service.run("apply", changes, "--json").check().json
        assert (done["generation"], [len(each["added"]) for each in done["rules"]]) == (2, [50_000, 50_000])
        assert not wire.passes(udp(source="1.7.9.9"))
