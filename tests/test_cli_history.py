"""`pcnc history` and what `rollback` tells, as people run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bench.lab import Lab
from tests.command_line import EXAMPLES, pcnc
from tests.live_service import FIREWALL, Wire
from tests.loaded_by_command import Service, loaded

pytestmark = [pytest.mark.kernel, pytest.mark.clang]


@pytest.fixture
def service(lab: Lab, tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "fw.pcn"
    path.write_text(FIREWALL.replace("chain", "config limit: u8 = 10\nchain", 1))
    with Wire(lab) as wire, loaded(wire, path) as made:
        yield made


def test_what_came_into_force_is_listed(service: Service, tmp_path: Path) -> None:
    service.rules("sources", "add", "10.0.0.0/8 -> drop", "11.0.0.0/8 -> next").check()
    service.run("set", "limit=20").check()
    assert "  setting limit: 20 → 10\n" in service.run("rollback").check().output
    told = service.run("history").check().output
    lines = [re.sub(r"\d\d:\d\d:\d\d|[0-9a-f]{12}(?=\b)", "…", line) for line in told.splitlines()]
    assert lines[0] == service.name
    assert [line.split(str(tmp_path))[0].strip() for line in lines[1:] if "generation" in line] == [
        "generation 1  …  load",
        "generation 2  …  rules",
        "generation 3  …  settings",
        "generation 2  …  rollback",
    ]
    at = lines.index("    sources: 2 added")
    assert lines[at + 1 : at + 3] == ["      + 10.0.0.0/8 -> drop", "      + 11.0.0.0/8 -> next"]
    assert "    setting limit: 10 → 20" in lines
    assert [line.rpartition("← ")[2] for line in lines if "←" in line] == ["previous", "live"]
    short = service.run("history", "--limit", "1").check().output.splitlines()
    assert short[1] == "  … 3 before these: --limit N shows the last N"
    assert short[2] == told.splitlines()[-3]
    assert pcnc("history", service.name, "--limit", "0").status == 2


def test_programs_read_it_too(service: Service) -> None:
    service.rules("sources", "add", "10.0.0.0/8 -> drop").check()
    shown = service.show()
    first, last = service.run("history", "--json").check().json
    assert (last["generation"], last["previous"], last["what"], last["mark"]) == (2, 1, "rules", "live")
    assert last["since"] == shown["since"]
    assert abs(datetime.fromisoformat(last["when"]).timestamp() - last["since"]) < 0.01
    assert last["tables"] == [
        {
            "table": "sources",
            "added": {"count": 1, "first": ["10.0.0.0/8 -> drop"]},
            "removed": {"count": 0, "first": []},
            "changed": {"count": 0, "first": []},
        }
    ]
    assert (first["source"], first["source_hash"]) == (shown["source"], shown["source_hash"])
    assert service.run("history", "--json", "--limit", "1").check().json == [last]
    service.run("swap", EXAMPLES / "firewall.pcn", "--discard", "all").check()
    assert service.run("history", "--json").check().json[-1]["source_changed"]


def test_of_what_is_not_loaded_there_is_none() -> None:
    pcnc("history", "nobody").refused("not-loaded")
