"""Programs that the real verifier refuses, since a clang of the test spoils their C: each is told on its line of PCN."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcnc_runtime.build import find_clang
from pcnc_runtime.operations import describe, loaded_names
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import open_program_by_id
from pcnc_runtime.state import place_of
from tests.command_line import EXAMPLES, ROOT, Done, pcnc
from tests.live_service import Wire, new_name, reason, udp
from tests.loaded_by_command import loaded
from tests.spoiling_clang import BYTES, spoiling_clang

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

SERVICE = """\
header probe[1] after udp when udp.dport == 7777 {
    kind: u8
    left: u8
}
service sample {
    meta seen: u8
    table ports {
        match  l4.dport: exact,
               ipv4.proto: exact
        action note, drop
        count  packets
    }
    rules ports {
        l4.dport=5060, ipv4.proto=udp -> note(7)
    }
    table ranges {
        match  ipv4.ttl: range,
               probe.kind: range
        action drop
        order  first
    }
    rules ranges {
        ipv4.ttl=0..1, probe.kind=7..9 -> drop
    }
    action note(value: u8) {
        seen = value
    }
    stage last {
        if ipv4 {
            ipv4.ttl -= 1
        }
        if seen != 0 {
            eth.src = 02:00:00:00:00:07   # the last
        }
    }
    chain ingress { ports; ranges; last }
}
"""


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A folder with a source and a clang that spoils what it compiles."""

    folder: Path
    source: Path

    def variables(self, old: str, new: str) -> dict[str, str]:
        """See `spoiling_clang`."""
        return spoiling_clang(self.folder, old, new)


@pytest.fixture
def spoiled(tmp_path: Path) -> Spoiled:
    source = tmp_path / "sample.pcn"
    source.write_text(SERVICE)
    return Spoiled(tmp_path, source)


def line_of(start: str) -> int:
    """The only line of SERVICE that begins so, behind its indentation."""
    (found,) = [number for number, line in enumerate(SERVICE.split("\n"), start=1) if line.strip().startswith(start)]
    return found


_ADDRESS = re.compile(r"0x[0-9a-f]{16}")

CASES = {
    "a stage": (*BYTES, "last", "ipv4.ttl -= 1", r"R\d offset is outside of the packet"),
    "an action": (
        *("frame->meta_seen = value;", "*(u8 *)frame->present = value;"),
        *("ports", "seen = value", r"R\d invalid mem access 'scalar'"),
    ),
    "a lookup": (
        *("bpf_map_lookup_elem(&ports_rules, key)", "bpf_map_lookup_elem(&ports_rules, (void *)frame->present)"),
        *("ports", "table ports {", r"R2 type=scalar expected=fp"),
    ),
    "a key": (
        *("key->ipv4_proto = frame->ipv4_proto;", "key->ipv4_proto = ((u8 *)frame)[4096];"),
        *("ports", "ipv4.proto: exact", r"R\d max value is outside of the allowed memory range|invalid access to map value"),
    ),
    "a comparison": (
        *("if (search->probe_kind < rule->probe_kind_low", "if (search->probe_kind < *(u8 *)search->present"),
        *("ranges", "probe.kind: range", r"R\d invalid mem access 'scalar'"),
    ),
    # `pcnc_store48` of the header that all blocks include writes beyond what was checked; the only line that calls it is told.
    "an inlined function": (
        *("pcnc_store32(at + 2, (u32)value);", "pcnc_store32(at + 20, (u32)value);"),
        *("last", "eth.src = 02:00:00:00:00:07", r"R\d offset is outside of the packet"),
    ),
    "a header of the prelude": (
        *("frame->ipv4_ttl = at[8];", "frame->ipv4_ttl = at[80];"),
        *("parser", "ipv4.proto: exact", r"R\d offset is outside of the packet"),
    ),
    "a header of the user's": (
        *("frame->probe_kind = at[0];", "frame->probe_kind = at[80];"),
        *("parser", "header probe[1]", r"R\d offset is outside of the packet"),
    ),
}


AT_TC = ("a stage", "a lookup", "an inlined function")


@pytest.mark.parametrize(("case", "hook"), [*((case, "xdp") for case in CASES), *((case, "tc") for case in AT_TC)])
def test_the_line_is_told(wire: Wire, spoiled: Spoiled, case: str, hook: str) -> None:
    old, new, program, start, reason = CASES[case]
    name = new_name()
    done = pcnc(
        *("load", spoiled.source, "--name", name, "--dev", "eth0", "--hook", hook),
        within=wire.right,
        changed=spoiled.variables(old, new),
    )
    said = done.refused("verifier-refused")
    line = line_of(start)
    text = SERVICE.split("\n")[line - 1]
    column = len(text) - len(text.lstrip()) + 1
    number = str(line)
    margin = " " * len(number)
    assert f"error[verifier-refused]: the kernel's verifier refuses `{program}`: " in said
    assert f"{margin}--> {spoiled.source}:{line}:{column}\n" in said
    assert f"{number} | {text}\n{margin} | {' ' * (column - 1)}{'^' * len(text.strip())} compiled to this\n" in said
    quoted = [line.removeprefix("  | ") for line in said.rpartition("--verbose")[2].split("\n") if line.startswith("  | ")]
    assert 2 <= len(quoted) <= 3, said
    assert re.match(r"\d+: \([0-9a-f]{2}\) ", quoted[0])
    assert any(re.match(reason, line) for line in quoted[1:]), said
    assert name not in loaded_names()


def test_what_is_told_to_programs_and_to_who_wants_all(wire: Wire, spoiled: Spoiled) -> None:
    load = ("load", spoiled.source, "--name", new_name(), "--dev", "eth0")
    changed = spoiled.variables(*BYTES)
    plain = pcnc(*load, within=wire.right, changed=changed).refused("verifier-refused")
    error = pcnc(*load, "--json", within=wire.right, changed=changed).json["error"]
    everything = pcnc(*load, "--verbose", within=wire.right, changed=changed).refused("verifier-refused")
    line = line_of("ipv4.ttl -= 1")
    assert (error["file"], error["line"], error["column"]) == (str(spoiled.source), line, 13)
    assert (error["text"], error["end_column"], error["program"]) == ("ipv4.ttl -= 1", 13 + len("ipv4.ttl -= 1"), "last")
    assert error["reason"] == error["excerpt"][-1]
    assert error["reason"] in error["log"]
    assert "this is a bug of pcnc" in error["help"]
    log = error["log"].rstrip("\n").split("\n")
    # Where a map lies is another address each time.
    log, everything = [_ADDRESS.sub("0x", each) for each in log], _ADDRESS.sub("0x", everything)
    assert f"; ipv4.ttl -= 1 @ sample.pcn:{line}" in log
    assert [each for each in log if f"  | {each}\n" not in everything] == []
    assert f"--verbose shows the whole log, {len(log) - len(error['excerpt'])} lines more than these" in plain
    assert error["versions"] in plain
    assert find_clang().version in plain
    for told in (plain, everything):
        assert "please report it, with sample.pcn" in told.replace("Please", "please")


def test_the_page_of_problems_shows_what_is_told(wire: Wire, spoiled: Spoiled) -> None:
    page = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    shown = page.partition("### verifier-refused")[2].partition("```text\n")[2].partition("```")[0]
    (spoiled.folder / "remark.pcn").write_bytes((EXAMPLES / "remark.pcn").read_bytes())
    load = ("load", "remark.pcn", "--name", new_name(), "--dev", "eth0")
    said = pcnc(*load, within=wire.right, changed=spoiled.variables(*BYTES), folder=spoiled.folder).refused("verifier-refused")
    # Compilers and kernels differ in versions, and in numbers of instructions, registers and lines.
    differing = (re.compile(r"^ +pcnc \d.*$", re.MULTILINE), re.compile(r"\d+"))
    for pattern in differing:
        shown, said = pattern.sub("N", shown), pattern.sub("N", said)
    assert said == shown


def test_what_the_register_held_stands_beside_the_instruction(wire: Wire, spoiled: Spoiled) -> None:
    done = pcnc(
        *("load", spoiled.source, "--name", new_name(), "--dev", "eth0"),
        within=wire.right,
        changed=spoiled.variables(*BYTES),
    )
    (first,) = [line for line in done.errors.split("\n") if re.match(r"  \| \d+: ", line)]
    register = re.search(r"\(r(\d) \+", first)
    assert register is not None
    assert f"; R{register[1]}=pkt(" in first
    assert first.endswith(")")


def test_a_refused_swap_leaves_what_runs(wire: Wire, spoiled: Spoiled) -> None:
    with loaded(wire, spoiled.source) as service:
        before = service.show()
        changed = spoiled.variables("frame->meta_seen = value;", "*(u8 *)frame->present = value;")
        done = pcnc("swap", service.name, spoiled.source, within=wire.right, changed=changed)
        assert f"sample.pcn:{line_of('seen = value')}:9\n" in done.refused("verifier-refused")
        assert service.show() == before
        counted = reason(service.name, "next")
        wire.send(udp(dport=7), 5)
        assert reason(service.name, "next") == counted + 5


def test_rules_that_need_other_code_are_told_by_the_source_that_is_kept(wire: Wire, spoiled: Spoiled) -> None:
    """The source may be gone: a loaded service has its own copy, and is told by the name it had."""
    with loaded(wire, spoiled.source) as service:
        spoiled.source.unlink()
        changed = spoiled.variables(*BYTES)
        rules = ("rules", service.name, "ports")
        done = pcnc(*rules, "delete", "--all", within=wire.right, changed=changed)
        assert f"{spoiled.source}:{line_of('ipv4.ttl -= 1')}:13\n" in done.refused("verifier-refused")
        assert "ipv4.ttl -= 1\n" in done.errors
        assert len(service.listed("ports")) == 1
        pcnc(*rules, "delete", "--all", within=wire.right).check()


def test_a_bundle_has_no_source_but_its_objects_quote_it(wire: Wire, spoiled: Spoiled) -> None:
    bundle = spoiled.folder / "sample.bundle"
    pcnc("build", spoiled.source, "-o", bundle, changed=spoiled.variables(*BYTES)).check()
    load = ("load", bundle, "--name", new_name(), "--dev", "eth0")
    said = pcnc(*load, within=wire.right).refused("verifier-refused")
    line = line_of("ipv4.ttl -= 1")
    assert f"note: sample.pcn:{line}: ipv4.ttl -= 1\n" in said
    assert "offset is outside of the packet" in said
    error = pcnc(*load, "--json", within=wire.right).json["error"]
    assert (error["file"], error["line"], error["column"], error["text"]) == ("sample.pcn", line, None, "ipv4.ttl -= 1")


def test_a_test_in_a_file_tells_the_line(spoiled: Spoiled) -> None:
    text = SERVICE.rstrip("}\n") + '}\n    test "one" {\n        send ingress: eth / ipv4 / udp\n        expect next\n    }\n}\n'
    spoiled.source.write_text(text)
    done = pcnc("test", spoiled.source, changed=spoiled.variables(*BYTES))
    assert f"{spoiled.source}:{line_of('ipv4.ttl -= 1')}:13\n" in done.refused("verifier-refused")


def test_clang_is_told_on_the_line_too(spoiled: Spoiled) -> None:
    build = ("build", spoiled.source, "-o", spoiled.folder / "bundle")
    changed = spoiled.variables("frame->meta_seen = value;", "frame->meta_seen = valve;")
    said = pcnc(*build, changed=changed).refused("clang-refused")
    line = line_of("seen = value")
    assert f"{spoiled.source}:{line}:9\n" in said
    assert f"{line} |         seen = value\n" in said
    assert "use of undeclared identifier 'valve'" in said
    error = pcnc(*build, "--json", changed=changed).json["error"]
    assert (error["file"], error["line"], error["column"]) == (str(spoiled.source), line, 9)
    assert error["reason"].startswith("use of undeclared identifier")


# ---- what is loaded


def dumped(id: int, *options: str) -> Done:
    """A program as the kernel runs it, with the lines that it comes from."""
    command = ["bpftool", *options, "prog", "dump", "xlated", "id", str(id), "linum"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr).check()


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_bpftool_shows_the_lines(wire: Wire, spoiled: Spoiled, hook: str) -> None:
    with loaded(wire, spoiled.source, "--hook", hook) as service:
        generation = place_of(service.name).generation(describe(service.name).generation)
        with open_map(generation / "blocks_ingress") as blocks:
            slots = [id for id in blocks.slots() if id is not None]
        ids = {}
        for id in slots:
            with open_program_by_id(id) as program:
                ids[program.facts.name] = id
        last = dumped(ids["last"]).output
        for start in ("ipv4.ttl -= 1", "eth.src = 02:00:00:00:00:07", "if seen != 0 {"):
            line = line_of(start)
            text = SERVICE.split("\n")[line - 1].strip()
            assert re.search(rf"; {re.escape(text)} \[file:\S*sample\.pcn line_num:{line} ", last), last
        # Every instruction of every block comes from a line that somebody wrote, in the source and nowhere else.
        for id in slots:
            told = json.loads(dumped(id, "-j").output)
            files = {each["file"].rpartition("/")[2] for each in _lines(told)}
            assert files == {"sample.pcn"}, files


def _lines(told: object) -> Iterator[dict[str, str]]:
    match told:
        case {"file": str()}:
            yield told  # type: ignore[misc]  # JSON: the names are strings, and what is compared is
        case dict():
            for each in told.values():
                yield from _lines(each)
        case list():
            for each in told:
                yield from _lines(each)


def test_nothing_is_logged_where_nothing_is_refused(wire: Wire, spoiled: Spoiled) -> None:
    """The verifier's log makes a load several times slower: it is asked for only after a refusal."""
    name, trace = new_name(), spoiled.folder / "trace"
    strace = ("strace", "-f", "-e", "trace=bpf", "-s", "32", "-v", "-o", str(trace))
    load = ("load", spoiled.source, "--name", name, "--dev", "eth0")
    pcnc(*load, within=wire.right, prefix=strace).check()
    pcnc("unload", name, within=wire.right).check()
    assert _levels(trace) == [0] * 5
    pcnc(*load, within=wire.right, prefix=strace, changed=spoiled.variables(*BYTES)).refused("verifier-refused")
    assert _levels(trace) == [0, 0, 0, 0, 1]


def _levels(trace: Path) -> list[int]:
    """The log level at which a traced command has loaded each block and entry; libbpf loads programs of its own beside these."""
    found = re.findall(r'BPF_PROG_LOAD, .*?log_level=(\d).*?prog_name="(\w*)"', trace.read_text())
    return [int(level) for level, name in found if name in ("parser", "ports", "ranges", "last", "pcnc_ingress")]
