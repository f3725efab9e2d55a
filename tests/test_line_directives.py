"""Line directives: each line of the C says which line of PCN it comes from, the C that people read says it once, in a comment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pcnc.compile import check
from pcnc.line_directives import (
    file_name,
    line_directive,
    quoted_sources,
    with_directive_on_each_line,
    without_directives,
)
from pcnc.manifest import Hook
from pcnc.shape import shape_of, widest_shape
from pcnc.source import Source, Span
from pcnc_ebpf.plan import compile_variant, plan_manifest
from pcnc_runtime.bcc import find_bcc
from pcnc_runtime.build import Compiler, find_clang
from pcnc_runtime.bundle import Bundle, build_bundle
from pcnc_runtime.errors import RuntimeProblem
from tests.command_line import EXAMPLES

SERVICE = """\
header probe[1] after udp when udp.dport == 7777 {
    kind: u8
    left: u8
}
service lines {
    meta seen: u8
    table ports {
        match l4.dport: exact,
              ipv4.proto: exact
        action note, drop
        default pass
        count packets
    }
    table ranges {
        match ipv4.ttl: range,
              probe.kind: range
        action drop
        default next
        order first
    }
    action note(value: u8) {
        seen = value
        eth.src = 02:00:00:00:00:02
    }
    stage last {
        if ipv4 {
            if seen != 0 {
                ipv4.ttl = 4
            } else {
                eth.src = 02:00:00:00:00:01
            }
        }
        if seen == 9 { drop }
    }
    chain ingress { ports; ranges; last }
}
"""


def lines_of(code: str) -> list[tuple[str, int, str]]:
    """Each line of C as the compiler sees it: file and line by the directives, and the text; the file is empty for C of its own."""
    found, file, number = [], "", 0
    for line in code.split("\n"):
        if match := re.match(r'#line (\d+) "([^"]*)"', line):
            file, number = match[2], int(match[1])
            continue
        found.append((file, number, line.strip()))
        number += 1
    return found


def compiled(text: str, hook: Hook = "xdp", path: str = "/some/where/lines.pcn") -> dict[str, str]:
    """The C of a service for every rule set, as it is compiled."""
    program = check(Source(path, text)).program
    (service,) = program.services
    variant = compile_variant(program, service, widest_shape(service.schemas), hook, "general")
    return {name.rsplit("/", 1)[-1]: code for name, code in plan_manifest(program, service, hook, [variant])[1].items()}


def line_of(text: str) -> int:
    """Where a text stands in SERVICE."""
    (found,) = [number for number, line in enumerate(SERVICE.split("\n"), start=1) if line.strip() == text]
    return found


@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.pcn")))
def test_all_code_of_all_functions_comes_from_a_line(example: str, hook: Hook) -> None:
    path = EXAMPLES / f"{example}.pcn"
    for name, code in compiled(path.read_text(), hook, str(path)).items():
        if not name.endswith(".c"):
            continue
        inside = False
        for file, number, line in lines_of(code):
            inside = inside or line.startswith(('SEC("xdp")', 'SEC("tc")', "static long "))
            if inside and line and not line.startswith(("/*", "*")):
                assert file in (f"{example}.pcn", "prelude.pcn"), (name, line)
                assert 0 < number <= len(path.read_text().split("\n")), (name, line)
        assert inside, name


def places(code: str, line: str) -> set[tuple[str, int]]:
    """Where a line of C says to come from."""
    return {(file, number) for file, number, text in lines_of(code) if text == line}


@pytest.mark.parametrize(
    ("block", "line", "place"),
    [
        # a table: its columns, its matching, its default, its actions
        ("1_ports.bpf.c", "key->l4_dport = frame->l4_dport;", "match l4.dport: exact,"),
        ("1_ports.bpf.c", "key->ipv4_proto = frame->ipv4_proto;", "ipv4.proto: exact"),
        ("1_ports.bpf.c", "rule = bpf_map_lookup_elem(&ports_rules, key);", "table ports {"),
        ("1_ports.bpf.c", "pcnc_count(&ports_counters, rule ? rule->counter : 0, 0);", "table ports {"),
        ("1_ports.bpf.c", "switch (rule->action) {", "table ports {"),
        ("1_ports.bpf.c", "frame->meta_seen = value;", "seen = value"),
        ("1_ports.bpf.c", "pcnc_store48(at + 6, value_2);", "eth.src = 02:00:00:00:00:02"),
        ("1_ports.bpf.c", "pcnc_jump(ctx, SLOT_RANGES);", "table ports {"),
        # an ordered one: the comparison, column by column
        ("2_ranges.bpf.c", "search.ipv4_ttl = frame->ipv4_ttl;", "match ipv4.ttl: range,"),
        (
            "2_ranges.bpf.c",
            "if (search->probe_kind < rule->probe_kind_low || search->probe_kind > rule->probe_kind_high)",
            "probe.kind: range",
        ),
        ("2_ranges.bpf.c", "bpf_loop(1 << 23, ranges_compare, &search, 0);", "table ranges {"),
        # a stage: its statements, each branch and what closes it
        ("3_last.bpf.c", "if (frame->meta_seen != 0) {", "if seen != 0 {"),
        ("3_last.bpf.c", "} else {", "if seen != 0 {"),
        ("3_last.bpf.c", "at[8] = value;", "ipv4.ttl = 4"),
        ("3_last.bpf.c", "pcnc_store48(at + 6, value_2);", "eth.src = 02:00:00:00:00:01"),
        ("3_last.bpf.c", "return pcnc_end(BECAUSE_DROP_STAGE_LAST, PCNC_DROP);", "if seen == 9 { drop }"),
        ("3_last.bpf.c", "return pcnc_end(BECAUSE_NEXT, PCNC_NEXT);", "stage last {"),
        # the parser: a header of the user's is told where it is declared, one of the prelude's where it is wanted
        ("0_parser.bpf.c", "probe: {", "header probe[1] after udp when udp.dport == 7777 {"),
        ("0_parser.bpf.c", "frame->ipv4_ttl = at[8];", "ipv4.proto: exact"),
        ("0_parser.bpf.c", "tcp: {", "match l4.dport: exact,"),
        ("0_parser.bpf.c", "frame->present = present;", "chain ingress { ports; ranges; last }"),
        ("entry_ingress.bpf.c", "pcnc_jump(ctx, 0);", "chain ingress { ports; ranges; last }"),
    ],
)
def test_where_code_comes_from(block: str, line: str, place: str) -> None:
    assert places(compiled(SERVICE)[block], line) == {("lines.pcn", line_of(place))}


def test_a_table_without_rules_is_its_default() -> None:
    program = check(Source("lines.pcn", SERVICE)).program
    (service,) = program.services
    variant = compile_variant(program, service, shape_of(service.schemas, {}), "xdp", "bare")
    (code,) = [code for path, code in variant.code.items() if path.endswith("_ports.bpf.c")]
    assert places(code, "pcnc_count(&ports_counters, 0, 0);") == {("lines.pcn", line_of("default pass"))}


def test_people_read_the_same_without_directives() -> None:
    for name, code in compiled(SERVICE, "tc").items():
        read = without_directives(code)
        assert "#line" not in read
        assert [text for _, _, text in lines_of(code)] == [line.strip() for line in read.split("\n")], name
        assert with_directive_on_each_line(read) == read


def test_each_source_line_is_quoted_once_and_right() -> None:
    source = SERVICE.split("\n")
    for name, code in compiled(SERVICE).items():
        quoted = quoted_sources(code).get("lines.pcn", "").split("\n")
        told = {number for file, number, _ in lines_of(code) if file == "lines.pcn"}
        for number in told if name.endswith(".c") else ():
            if f'#line {number} "lines.pcn"' in code:
                assert quoted[number - 1] == source[number - 1].strip(), name
                assert code.count(f'#line {number} "lines.pcn" /*') == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/pcnc/fw.pcn", "fw.pcn"),
        (r"C:\fw.pcn", "fw.pcn"),
        ("<stdin>", "<stdin>"),
        ('my "own" fire wall.pcn', "my _own_ fire wall.pcn"),
        ("new\nline\udc80.pcn", "new_line_.pcn"),
        ("brandmauer-für-münchen.pcn", "brandmauer-für-münchen.pcn"),
        ("", "_"),
    ],
)
def test_names_of_files_fit_a_directive(path: str, name: str) -> None:
    assert file_name(path) == name


@pytest.mark.parametrize("line", ["a /* b */ c", "a \\", "a\tb\u2028c\x0cd\re", '"quoted" #line 7 "other"', "??/"])
def test_whatever_stands_in_a_source_line_stays_one_comment(line: str) -> None:
    source = Source("odd.pcn", f"first\n{line}\n")
    code = with_directive_on_each_line(f"{line_directive(Span(source, 6, 7))}\nint a;\nint b;\n")
    directive, first, again, second = code.removesuffix("\n").split("\n")
    assert (first, again, second) == ("int a;", '#line 2 "odd.pcn"', "int b;")
    assert (directive.count("/*"), directive.count("*/")) == (1, 1)
    assert directive.isprintable()
    assert len(quoted_sources(code)["odd.pcn"].split("\n")) == 3


# ---- compiled


@pytest.mark.clang
def test_objects_hold_the_lines_and_nothing_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same name in the folder where the command runs must not be quoted in place of the source."""
    made = []
    for folder, text in (("one", "quite another text\n" * 60), ("two", "")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / folder / "cache"))
        (tmp_path / folder / "lines.pcn").parent.mkdir()
        (tmp_path / folder / "lines.pcn").write_text(text)
        monkeypatch.chdir(tmp_path / folder)
        made.append(bundle_of(SERVICE, os.path.abspath("lines.pcn")).files)
    assert made[0] == made[1]
    objects = b"".join(content for path, content in made[0].items() if path.endswith("last.bpf.o"))
    assert b"lines.pcn\0" in objects
    assert b"ipv4.ttl = 4\0" in objects
    assert not [path for path, content in made[0].items() if str(tmp_path).encode() in content or b"another text" in content]
    assert not [path for path, content in made[0].items() if path.endswith(".c") and b"#line" in content]


def bundle_of(text: str, path: str, tampered: tuple[str, str] = ("", ""), compiler: Compiler | None = None) -> Bundle:
    """A bundle of a service, one piece of its C replaced."""
    program = check(Source(path, text)).program
    (service,) = program.services
    variant = compile_variant(program, service, widest_shape(service.schemas), "xdp", "general")
    manifest, code = plan_manifest(program, service, "xdp", [variant])
    return build_bundle(manifest, {name: text.replace(*tampered) for name, text in code.items()}, compiler)


@pytest.mark.clang
@pytest.mark.parametrize(("find", "name"), [(find_clang, "clang-refused"), (find_bcc, "bcc-refused")])
def test_compilers_speak_of_the_line(find: Callable[[], Compiler], name: str) -> None:
    with pytest.raises(RuntimeProblem) as told:
        bundle_of(SERVICE, "lines.pcn", ("\t\tat[8] = value;", "\t\tat[8] = valve;"), find())
    assert told.value.name == name
    refusal = told.value.refusal
    assert refusal is not None
    assert (refusal.file, refusal.line) == ("lines.pcn", line_of("ipv4.ttl = 4"))
    assert refusal.reason.startswith("use of undeclared identifier 'valve'")
