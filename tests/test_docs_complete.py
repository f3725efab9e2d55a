"""The documents leave nothing out: headers, defaults of packets, commands and their options, problems; and no link is dead."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcnc.packet_defaults import DEFAULTS
from pcnc.parse_graph import HeaderInstance, Headers
from pcnc.rule_values import read_value
from pcnc_runtime import errors
from tests.documents import DOCUMENTS, ROOT
from tests.pcn_text import headers_of
from tests.problems_page import problems_page

LANGUAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def rows(text: str, title: str) -> dict[str, str]:
    """The rows of the first table whose head begins with `title`, by the name at the beginning of each."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {title} |"):
            break
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name = re.match(r"\| `([^`]+)`", line)
        assert name, line
        found[name[1]] = line
    return found


def declared(headers: Headers) -> dict[str, HeaderInstance]:
    return {instance.header: instance for instance in headers.instances if instance.index == 0}


def test_every_header_of_the_prelude_is_listed_with_its_fields() -> None:
    headers = headers_of()
    listed = rows(LANGUAGE, "header")
    wanted = {name: instance.fields for name, instance in declared(headers).items()}
    wanted |= {either.name: either.fields for either in headers.eithers}
    assert set(listed) == set(wanted)
    for name, fields in wanted.items():
        told = listed[name].split("|")[3]
        assert re.findall(r"`(\w+)`", told) == [field.name for field in fields]


def test_every_default_of_a_packet_is_listed() -> None:
    listed = rows(LANGUAGE[LANGUAGE.index("| header | defaults |") :], "header")
    instances = declared(headers_of())
    told: dict[tuple[str, str], int] = {}
    for header, row in listed.items():
        for field, written in re.findall(r"`(\w+)` = ([\w.:]+)", row.split("|")[2]):
            type = instances[header].field(field).type
            told[header, field] = read_value(written, type, dict(type.members))
    assert told == DEFAULTS


# ---- commands


def help_of(*command: str) -> str:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    line = [sys.executable, "-m", "pcnc.cli", *command, "--help"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    return done.stdout


def commands() -> Iterator[tuple[str, ...]]:
    for line in help_of().split("Commands:")[1].splitlines():
        if (name := re.match(r"  (\w+) ", line)) and name[1] != "rules":
            yield (name[1],)
    for line in help_of("rules", "NAME", "TABLE").split("Commands:")[1].splitlines():
        if name := re.match(r"  (\w+) ", line):
            yield ("rules", "NAME", "TABLE", name[1])


def test_every_command_and_option_is_described() -> None:
    sections = dict(re.findall(r"^### `pcnc ([^`]+)`\n(.*?)(?=^##|\Z)", COMMANDS, re.MULTILINE | re.DOTALL))
    for command in commands():
        called = " ".join(command)
        title = next((title for title in sections if title == called or title.startswith(f"{called} ")), None)
        assert title, f"there is no section for {called}"
        options = set(re.findall(r"--[a-z][a-z-]*", help_of(*command).split("Options:")[1])) - {"--help", "--json"}
        assert options - set(re.findall(r"--[a-z][a-z-]*", f"{title} {sections[title]}")) == set(), called


def test_every_problem_of_commands_is_listed() -> None:
    table = COMMANDS[COMMANDS.index("| problem |") :]
    listed = {name for row in table.splitlines() for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1])}
    raised = {name for name, _ in errors._MEANING.values()}
    for path in (*(ROOT / "runtime").rglob("*.py"), *(ROOT / "pcnc" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name("RuntimeProblem"), [ast.Constant(str(name)), *_]):
                    raised.add(name)
    assert listed == raised | {"kernel-refused"}


# ---- pages


def test_the_page_of_problems_is_up_to_date() -> None:
    path = ROOT / "docs" / "problems.md"
    page = problems_page()
    if os.environ.get("PCNC_BLESS") == "1":
        path.write_text(page, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", document.read_text(encoding="utf-8")):
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), f"{document.name} links to {target}"
        assert not anchor or anchor in anchors(path), f"{document.name} links to {target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """What the headings of a page are linked by."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
