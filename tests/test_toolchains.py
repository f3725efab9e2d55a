"""Two toolchains: BCC makes of the same C the same programs and maps as clang, and what it cannot do is told as clear."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pcnc.cli.compile_service import Chosen, build_service
from pcnc.compile import check
from pcnc.manifest import Hook, Toolchain, manifest_from_json, to_json
from pcnc.source import Source
from pcnc_runtime.bcc import Bcc, find_bcc
from pcnc_runtime.build import Clang, compile_sources, find_clang
from pcnc_runtime.bundle import Bundle, planned_programs
from pcnc_runtime.elf import longest_program, sections
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.objects import ObjectFile
from pcnc_runtime.toolchains import choose_compiler, toolchain_of
from tests.command_line import EXAMPLES, no_compiler, pcnc

pytestmark = [pytest.mark.clang, pytest.mark.bcc]

FIREWALL = EXAMPLES / "firewall.pcn"
PROGRAM = '__attribute__((section("xdp"), used)) int f(void) {{ {} return 1; }}\n'
GOOD = PROGRAM.format("")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def built(text: str, hook: Hook, toolchain: Toolchain) -> Bundle:
    """The bundle of a service."""
    program = check(Source("service.pcn", text)).program
    return build_service(Chosen(program, program.services[0]), hook, choose_compiler(toolchain).compiler)


# ---- the same from both


@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.pcn")))
def test_every_example_is_the_same_programs_and_maps(example: str, hook: Hook) -> None:
    text = (EXAMPLES / f"{example}.pcn").read_text()
    ours, theirs = built(text, hook, "clang"), built(text, hook, "bcc")
    assert (ours.manifest.toolchain, theirs.manifest.toolchain) == ("clang", "bcc")
    assert ours.manifest.variants == theirs.manifest.variants
    for plan in planned_programs(ours.manifest):
        assert ours.files[plan.code] == theirs.files[plan.code]
        with ObjectFile(ours.files[plan.object]) as first, ObjectFile(theirs.files[plan.object]) as second:
            assert first.program_names == second.program_names
            assert set(first.declared_maps) == set(second.declared_maps), plan.object
            for declared in first.declared_maps:
                if declared.internal:
                    assert first.value(declared.name) == second.value(declared.name)
        assert list(slots(ours.files[plan.object])) == list(slots(theirs.files[plan.object])), plan.object


def slots(data: bytes) -> Iterator[int]:
    """The slot of each tail call, which must stand as a constant in the instruction before: that is what the kernel patches."""
    for section in sections(data):
        instructions = list(struct.iter_unpack("=BBhi", section.content)) if section.executable else []
        for before, (code, _, _, value) in pairwise(instructions):
            if (code, value) == (0x85, 12):
                assert before[:2] in ((0xB7, 3), (0xB4, 3)), "r3 is no constant"
                yield before[3]


def test_objects_hold_the_lines_and_nothing_of_the_machine(tmp_path: Path) -> None:
    made = built(FIREWALL.read_text(), "xdp", "bcc")
    data = made.files["general/ingress/1_sources.bpf.o"]
    assert b"service.pcn\0" in data
    assert b"match   ipv4.src: lpm\0" in data
    for path, content in made.files.items():
        assert str(tmp_path).encode() not in content, path
        assert b"/tmp" not in content, path


def test_the_same_text_gives_the_same_bytes_in_whatever_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pcnc_runtime.build import compile_sources; from pcnc_runtime.bcc import find_bcc;"
        f"sys.stdout.buffer.write(compile_sources({{'a': {GOOD!r}}}, compiler=find_bcc(), use_cache=False)['a'])"
    )
    made = [
        subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=True, env=variables).stdout
        for folder, variables in (("/", {**os.environ}), (tmp_path, {**os.environ, "TMPDIR": str(tmp_path), "LANG": "C"}))
    ]
    assert made[0] == made[1]
    assert made[0].startswith(b"\x7fELF")


@pytest.mark.parametrize("table", ["license", "_license", "xdp", "maps", "version", "bpf_loop_", "linux"])
def test_no_name_of_a_table_is_in_the_way(table: str) -> None:
    text = f"service s {{ table {table} {{\nmatch ipv4.dst: lpm\naction drop\n}}\nchain ingress {{ {table} }} }}"
    for toolchain in ("clang", "bcc"):
        built(text, "xdp", toolchain)


# ---- which one


def test_what_is_asked_for_decides_then_the_environment_then_clang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PCNC_TOOLCHAIN", raising=False)
    assert toolchain_of(choose_compiler().compiler) == "clang"
    monkeypatch.setenv("PCNC_TOOLCHAIN", "bcc")
    assert toolchain_of(choose_compiler().compiler) == "bcc"
    assert toolchain_of(choose_compiler("clang").compiler) == "clang"
    monkeypatch.setenv("PCNC_TOOLCHAIN", "gcc")
    with pytest.raises(RuntimeProblem) as caught:
        choose_compiler()
    assert caught.value.name == "no-such-toolchain"


def test_without_clang_it_is_bcc_and_told(tmp_path: Path) -> None:
    poor = {"PATH": str(tmp_path), "PCNC_CLANG": "", "PCNC_TOOLCHAIN": ""}
    done = pcnc("build", FIREWALL, "-o", tmp_path / "fw", changed=poor).check()
    assert done.errors == "note: BCC compiles: there is no clang on the PATH\n"
    assert json.loads((tmp_path / "fw" / "manifest.json").read_text())["toolchain"] == "bcc"
    pcnc("build", FIREWALL, "-o", tmp_path / "fw", "--toolchain", "clang", changed=poor).refused("no-clang")
    # Who names a clang wants that one.
    pcnc("build", FIREWALL, "-o", tmp_path / "fw", changed={**poor, "PCNC_CLANG": "no-such-clang"}).refused("no-clang")


def test_without_any_both_are_named(tmp_path: Path) -> None:
    told = pcnc("build", FIREWALL, "-o", tmp_path / "fw", changed=no_compiler(tmp_path)).refused("no-clang")
    assert "libbpfcc" in told
    told = pcnc("build", FIREWALL, "-o", tmp_path / "fw", "--toolchain", "bcc", changed=no_compiler(tmp_path)).refused("no-bcc")
    assert "apt-get install libbpfcc" in told


def test_a_bundle_by_bcc_says_so(tmp_path: Path) -> None:
    done = pcnc("build", FIREWALL, "-o", tmp_path / "fw", "--toolchain", "bcc", "--json").check()
    assert done.errors == ""
    assert done.json["toolchain"] == "bcc"
    assert done.json["toolchain_version"] == find_bcc().version
    load = ("load", tmp_path / "fw", "--name", "x", "--dev", "nowhere", "--toolchain")
    pcnc(*load, "clang").refused("other-toolchain")


@pytest.mark.parametrize("command", [("build", FIREWALL, "-o", "x"), ("test", FIREWALL), ("swap", "x", FIREWALL)])
def test_another_toolchain_is_wrong_usage(command: tuple[str, ...], tmp_path: Path) -> None:
    done = pcnc(*command, "--toolchain", "gcc", folder=tmp_path).is_civil()
    assert done.status == 2
    assert "'gcc' is not one of 'clang', 'bcc'" in done.errors


def test_a_manifest_from_before_was_made_by_clang() -> None:
    data = to_json(built(FIREWALL.read_text(), "xdp", "bcc").manifest)
    assert manifest_from_json(data).toolchain == "bcc"
    del data["toolchain"], data["toolchain_version"]
    assert manifest_from_json(data).toolchain == "clang"


@pytest.mark.parametrize("library", ["/no/such/libbcc.so.0", "text", "libc.so.6"])
def test_what_is_no_bcc_is_told(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("no library")
    found = next(Path("/lib").glob("*/libc.so.6")) if library == "libc.so.6" else tmp_path / library
    monkeypatch.setenv("PCNC_LIBBCC", str(found))
    with pytest.raises(RuntimeProblem) as caught:
        find_bcc()
    assert caught.value.name == "no-bcc"


# ---- the cache


def test_what_was_compiled_before_is_not_compiled_again(tmp_path: Path) -> None:
    bcc = find_bcc()
    made = compile_sources({"a": GOOD}, compiler=bcc)
    gone = str(tmp_path / "gone")
    assert compile_sources({"a": GOOD}, compiler=Bcc(gone, bcc.version)) == made
    assert compile_sources({"a": GOOD}, compiler=find_clang()) != made
    with pytest.raises(RuntimeProblem) as caught:
        compile_sources({"a": GOOD}, compiler=Bcc(gone, "another version"))
    assert caught.value.name == "no-bcc"


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int f(void) { return 1 }", "expected ';'"),
        (PROGRAM.format("int unused;"), "unused variable"),
        (PROGRAM.format('asm volatile("nonsense");'), "invalid register"),
        (PROGRAM.format("char big[600]; ((void (*)(void *))77)(big);"), "stack limit"),
    ],
)
def test_bcc_is_told_by_its_words_and_says_nothing_itself(text: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    texts = {f"good {number}": f"{GOOD}/* {number} */" for number in range(4)}
    with pytest.raises(RuntimeProblem) as caught:
        compile_sources({**texts, "bad": text, "good": GOOD}, compiler=find_bcc())
    assert caught.value.name == "bcc-refused"
    assert "`bad`" in caught.value.message
    assert words in caught.value.message
    assert words in caught.value.log
    assert capfd.readouterr() == ("", "")


def test_a_refusal_speaks_of_the_line() -> None:
    with pytest.raises(RuntimeProblem, match="use of undeclared identifier 'valve'") as caught:
        compile_sources({"a": f'{GOOD}#line 30 "some.pcn" /* x */\nint g(void) {{ return valve; }}\n'}, compiler=find_bcc())
    assert caught.value.name == "bcc-refused"
    assert caught.value.refusal is not None
    assert (caught.value.refusal.file, caught.value.refusal.line) == ("some.pcn", 30)


def test_a_stage_too_long_for_one_program_is_told_in_a_sentence() -> None:
    writes = "\n".join(f"ipv4.dst = 10.0.{number // 250}.{number % 250}" for number in range(240))
    text = f"service s {{ chain ingress {{ stage t {{ if ipv4 {{\n{writes}\n}} }} }} }}"
    with pytest.raises(RuntimeProblem) as raised:
        built(text, "xdp", "bcc")
    assert raised.value.name == "block-too-long"


def test_the_longest_program_of_an_object() -> None:
    nops = 'asm volatile(".rept 100\\n\\tr0 = r0\\n\\t.endr");'
    data = compile_sources({"a": PROGRAM.format(nops)}, compiler=find_clang())["a"]
    assert 101 < longest_program(data) < 105


def test_nothing_to_compile_needs_no_process() -> None:
    assert compile_sources({}, compiler=Bcc("/no/such/library", "none")) == {}
    assert isinstance(choose_compiler("clang").compiler, Clang)
