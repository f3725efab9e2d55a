"""Services compiled by BCC, and services that go from one toolchain to the other, with real packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.traffic import Generator, Kind, Sink
from pcnc.cli.compile_service import Chosen, build_service, recompile, record_of
from pcnc.compile import check
from pcnc.manifest import Toolchain
from pcnc.rule_edits import AddRule
from pcnc.source import Source
from pcnc_runtime.bcc import find_bcc
from pcnc_runtime.build import compile_sources
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.objects import load_program
from pcnc_runtime.operations import change_rules, describe, load, rollback, swap, unload
from pcnc_runtime.toolchains import choose_compiler
from tests.command_line import EXAMPLES, no_compiler, pcnc
from tests.live_service import FIREWALL, Wire, assert_each_counted_once, chain, new_name, prefix, traces, udp
from tests.loaded_by_command import loaded

pytestmark = [pytest.mark.kernel, pytest.mark.clang, pytest.mark.bcc]


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_the_tests_of_the_examples_agree_in_the_kernel(hook: str) -> None:
    done = pcnc("test", "--toolchain", "bcc", "--hook", hook, *sorted(EXAMPLES.glob("*.pcn"))).check()
    assert done.output.endswith(f"all passed, on interpreter and kernel ({hook}, BCC)\n")


@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("example", sorted(path.stem for path in EXAMPLES.glob("*.pcn")))
def test_every_example_is_loaded_where_there_is_no_compiler(wire: Wire, example: str, hook: str, tmp_path: Path) -> None:
    bundle, name, poor = tmp_path / "bundle", new_name(), no_compiler(tmp_path)
    pcnc("build", EXAMPLES / f"{example}.pcn", "-o", bundle, "--hook", hook, "--toolchain", "bcc").check()
    pcnc("load", bundle, "--name", name, "--dev", "eth0", within=wire.right, changed=poor).check()
    try:
        assert pcnc("show", name, "--json", changed=poor).check().json["toolchain"] == "bcc"
        wire.send(udp(), 3)
        assert chain(name).packets >= 3
        reasons = dict(chain(name).reasons)
        assert reasons["drop: tail call"] == reasons["drop: internal"] == reasons["drop: no generation"] == 0
    finally:
        pcnc("unload", name, changed=poor).check()


def test_a_bundle_by_bcc_filters_where_there_is_no_compiler(wire: Wire, tmp_path: Path) -> None:
    bundle, name, poor = tmp_path / "bundle", new_name(), no_compiler(tmp_path)
    pcnc("build", EXAMPLES / "firewall.pcn", "-o", bundle, "--toolchain", "bcc").check()
    pcnc("load", bundle, "--name", name, "--dev", "eth0", within=wire.right, changed=poor).check()
    try:
        assert wire.passes(udp("10.0.0.1"))
        done = pcnc("rules", name, "sources", "add", "10.0.0.0/8 -> drop", changed=poor).check()
        assert "wider variant `general`" in done.errors
        assert not wire.passes(udp("10.0.0.1"))
        assert wire.passes(udp("11.0.0.1"))
        assert "with BCC; loaded" in pcnc("show", name).check().output
    finally:
        pcnc("unload", name).check()


def test_a_loaded_service_remembers_what_compiles_it(wire: Wire, tmp_path: Path) -> None:
    path, caches = tmp_path / "firewall.pcn", {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    path.write_text(FIREWALL)
    with loaded(wire, path, "--toolchain", "bcc") as service:
        # A clang that must not run: who is asked to compile again is BCC.
        without_clang = {**caches, "PCNC_CLANG": "/bin/false"}
        done = pcnc("rules", service.name, "sources", "add", "10.0.0.0/8 -> drop", changed=without_clang).check()
        assert "compiled for it" in done.output
        assert (done.errors, service.show()["toolchain"]) == ("", "bcc")
        assert not wire.passes(udp("10.0.0.1"))
        done = pcnc("rules", service.name, "destinations", "add", "10.0.0.0/8 -> drop", changed=no_compiler(tmp_path)).check()
        assert "wider variant" in done.errors
        assert "there is no `" in done.errors
        assert "libbcc" in done.errors
        service.run("swap", path, "--toolchain", "clang").check()
        assert service.show()["toolchain"] == "clang"
        assert not wire.passes(udp("10.0.0.1"))


def test_the_verifier_speaks_of_the_line() -> None:
    line = '#line 30 "some.pcn" /* ipv4.ttl -= 1 */'
    text = f"""{line}
__attribute__((section("xdp"), used)) int f(unsigned *ctx) {{
{line}
	return ctx[1000];
}}
char pcnc_license[] __attribute__((section("license"), used)) = "Dual BSD/GPL";
"""
    with pytest.raises(RuntimeProblem) as caught:
        load_program(compile_sources({"a": text}, compiler=find_bcc())["a"])
    assert caught.value.name == "verifier-refused"
    found = caught.value.refusal
    assert found is not None
    assert (found.file, found.line, found.text) == ("some.pcn", 30, "ipv4.ttl -= 1")


def version(*rules: str) -> Chosen:
    """The firewall with rules of its own."""
    held = "".join(f"{rule}\n" for rule in rules)
    program = check(Source("service.pcn", f"{FIREWALL[: FIREWALL.rindex('}')]} rules sources {{\n{held}}}\n}}\n")).program
    return Chosen(program, program.services[0])


def test_under_traffic_a_service_goes_from_clang_to_bcc_and_back(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCNC_RUN", str(tmp_path / "run"))
    name = new_name()
    made: dict[Toolchain, tuple[Bundle, SourceRecord]] = {}
    versions: tuple[tuple[Toolchain, tuple[str, ...]], ...] = (("clang", ()), ("bcc", ("13.0.0.0/8 -> drop",)))
    for toolchain, others in versions:
        chosen = version("12.0.0.0/8 -> drop", *others)
        bundle = build_service(chosen, "xdp", choose_compiler(toolchain).compiler)
        made[toolchain] = bundle, record_of(chosen, "xdp", toolchain)
    bundle, source = made["clang"]
    with wire.right.entered():
        load(bundle, name, ["eth0"], source=source, recompile=recompile)
    try:
        with Sink(wire.right, "eth0", Kind.TC) as behind:
            before = chain(name).packets
            with Generator(wire.left, "eth0", udp("10.0.0.1"), udp("12.0.0.1"), rate=50_000) as generator:
                for turn in range(8):
                    toolchain, _ = versions[(turn + 1) % 2]
                    bundle, source = made[toolchain]
                    swap(name, bundle, source=source, recompile=recompile)
                    assert describe(name).toolchain == toolchain
                    change_rules(name, [AddRule("destinations", prefix(f"10.9.{turn}.0/24"))], recompile=recompile)
                    rollback(name)
                    rollback(name)
                sent = generator.stop()
            assert generator.overruns == 0
            assert_each_counted_once(name, "sources", behind, before, sent)
        found = traces(name)
    finally:
        unload(name)
    assert found.remaining() == []
