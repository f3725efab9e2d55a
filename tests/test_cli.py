"""The command where it needs no tools: check, test on the interpreter, run, graph, and what it says when used wrongly."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from pathlib import Path

import dpkt
import pytest

import pcnc as package
from pcnc.cli.application import COMMANDS
from tests.command_line import COMMAND, EXAMPLES, ROOT, environment, pcnc

FIREWALL = EXAMPLES / "firewall.pcn"
BROKEN = """service firewall {
    table sources { match ipv4.scr: lpm; action drop; default next }
    table others { match ipv4.dst: lmp; action drop; default next }
    chain ingress { sources; others }
}
"""
CONFIGURED = """service limits {
    config least: u8 = 10
    config gateway: ipv4_addr = 192.0.2.1
    chain ingress { if ipv4 { if ipv4.ttl < least { drop } } }
    chain egress { drop }
}
"""
TWO = "service a { chain ingress { drop } }\nservice b { chain ingress { pass } }\n"


def written(folder: Path, text: str, name: str = "service.pcn") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# ---- check


def test_what_is_right_is_told_in_a_line() -> None:
    done = pcnc("check", FIREWALL).check()
    assert done.output == f"{FIREWALL}: ok: service firewall (2 tables, 3 tests)\n"
    assert done.errors == ""


def test_every_problem_of_every_file_is_told(tmp_path: Path) -> None:
    broken = written(tmp_path, BROKEN)
    done = pcnc("check", broken, FIREWALL, tmp_path / "nothing.pcn").is_civil()
    assert done.status == 1
    assert f"--> {broken}:2:32" in done.errors
    assert "did you mean `src`?" in done.errors
    assert f"{FIREWALL}: ok" in done.output
    assert "error[no-such-file]" in done.errors


def test_problems_as_json(tmp_path: Path) -> None:
    done = pcnc("check", "--json", written(tmp_path, BROKEN))
    assert done.status == 1
    (first, *_) = done.json["diagnostics"]
    assert first["line"] == 2
    assert first["severity"] == "error"
    assert done.json["files"][0]["ok"] is False
    assert done.errors == ""


def test_standard_input_is_a_source() -> None:
    done = pcnc("check", "-", given=BROKEN)
    assert done.status == 1
    assert "--> <stdin>:2:" in done.errors
    pcnc("check", "-", given=b"\xef\xbb\xbfservice x { chain ingress { drop } }\n").check()


# ---- bad input


def test_a_file_that_is_not_there() -> None:
    assert "nothing.pcn" in pcnc("graph", "/nowhere/nothing.pcn").refused("no-such-file")


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    pcnc("graph", tmp_path).refused("is-a-folder")


def test_what_is_not_utf_8_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.pcn"
    path.write_bytes("# eins\n# prüfen\n".encode("latin-1"))
    assert f"{path}:2:5" in pcnc("graph", path).refused("not-utf-8")


def test_an_empty_file_has_no_service(tmp_path: Path) -> None:
    done = pcnc("check", written(tmp_path, "")).is_civil()
    assert done.status == 1
    assert "error[no-service]" in done.errors


def test_zeros_are_told_like_other_characters(tmp_path: Path) -> None:
    done = pcnc("check", written(tmp_path, "service \0x { chain ingress { drop } }")).is_civil()
    assert done.status == 1
    assert "error[unexpected-character]" in done.errors


def test_ten_megabytes_of_noise(tmp_path: Path) -> None:
    path = tmp_path / "noise.pcn"
    path.write_bytes(random.Random(7).randbytes(10 << 20))
    pcnc("graph", path).refused("file-too-large")


def test_noise_that_is_text(tmp_path: Path) -> None:
    letters = random.Random(7).choices('abc{}();->=.0129 \n#"/', k=4_000_000)
    done = pcnc("check", written(tmp_path, "".join(letters))).is_civil()
    assert done.status == 1
    assert "error[" in done.errors


def test_a_device_without_end_is_too_large() -> None:
    pcnc("graph", "/dev/zero").refused("file-too-large")


def test_a_hundred_thousand_rules(tmp_path: Path) -> None:
    text = FIREWALL.read_text().replace("64k", "128k")
    at = text.index("    chain ingress")
    rules = "\n".join(f"{index >> 8 & 255}.{index & 255}.{index >> 16}.1 -> drop" for index in range(100_000))
    began = time.monotonic()
    done = pcnc("check", written(tmp_path, f"{text[:at]}rules sources {{\n{rules}\n}}\n{text[at:]}")).check()
    assert "100,000 rules" in done.output
    assert time.monotonic() - began < 30  # 1.5 s on a machine that does nothing else


def test_problems_as_json_where_there_is_no_place_for_them() -> None:
    error = pcnc("graph", "/nowhere", "--json").json["error"]
    assert error["name"] == "no-such-file"
    assert error["errno"] == 2


# ---- used wrongly


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("check",),
        ("build", "x.pcn"),
        ("run", "x.pcn"),
        ("graph", "x.pcn", "--chain", "sideways"),
        ("load", "x.pcn", "--name", "x"),
        ("rules", "fw"),
        ("rules", "fw", "sources", "conjure"),
        ("stats", "fw", "--interval", "0"),
        ("show", "a", "b"),
    ],
)
def test_wrong_use_has_a_status_of_its_own(arguments: tuple[str, ...]) -> None:
    done = pcnc(*arguments).is_civil()
    assert done.status == 2
    assert "Usage: pcnc" in done.errors


def test_a_misspelt_command_is_guessed() -> None:
    assert "'check'" in pcnc("chek").errors


def test_the_version() -> None:
    assert pcnc("--version").check().output == f"pcnc {package.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    assert pcnc(command, "--help").check().output.startswith(f"Usage: pcnc {command}")
    assert f"  {command} " in pcnc("--help").output


def test_a_reader_that_has_gone_is_no_reason_for_words() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "graph", str(FIREWALL)], stdout=write, stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "graph", str(FIREWALL)], stdout=full, stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert b"cannot write the output: No space left on device\n" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_a_poor_terminal_gets_something(locale: str) -> None:
    pcnc("test", "--no-kernel", FIREWALL, changed={"LC_ALL": locale, "PYTHONIOENCODING": "ascii"}).check()


# ---- test


def test_tests_pass_on_the_interpreter() -> None:
    done = pcnc("test", "--no-kernel", *sorted(EXAMPLES.glob("*.pcn"))).check()
    assert "  ✓ a blocked source is dropped, the rest goes on\n" in done.output
    assert done.output.endswith("all passed, on interpreter\n")


def test_a_failure_shows_the_line_and_what_was_got(tmp_path: Path) -> None:
    path = written(tmp_path, FIREWALL.read_text().replace("expect drop", "expect next", 1))
    done = pcnc("test", "--no-kernel", path).is_civil()
    assert done.status == 1
    assert "✗ a blocked source is dropped, the rest goes on" in done.output
    assert "expected next, got drop" in done.output
    assert f"--> {path}:" in done.output
    assert done.output.endswith("3 tests, 1 failed, on interpreter\n")
    report = pcnc("test", "--no-kernel", "--json", path).json
    assert report["passed"] is False
    assert [test["passed"] for test in report["tests"]] == [False, True, True]
    assert report["tests"][0]["diagnostics"][0]["name"] == "test-failed"


# ---- run


def frame(source: str, ttl: int = 64) -> bytes:
    packet = dpkt.ip.IP(src=socket.inet_aton(source), dst=socket.inet_aton("192.0.2.1"), p=17, ttl=ttl, data=b"\0" * 8)
    return bytes(dpkt.ethernet.Ethernet(src=b"\2\0\0\0\0\1", dst=b"\2\0\0\0\0\2", type=0x0800, data=bytes(packet)))


FRAMES = [frame("10.0.0.1"), frame("11.0.0.1"), frame("11.0.0.2", ttl=5), b"short"]
TIMES = [1_700_000_000.25, 1_700_000_001.5, 1_700_000_002.0, 1_700_000_003.0]


@pytest.fixture(params=["pcap", "pcapng"])
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"in.{request.param}"
    with open(path, "wb") as file:
        writer = (dpkt.pcap if request.param == "pcap" else dpkt.pcapng).Writer(file, snaplen=65535)
        for packet, when in zip(FRAMES, TIMES, strict=True):
            writer.writepkt(packet, ts=when)
    return path


def packets_of(path: Path) -> list[tuple[float, bytes]]:
    with open(path, "rb") as file:
        return [(float(when), bytes(packet)) for when, packet in dpkt.pcap.Reader(file)]


def test_packets_of_a_capture_go_through(capture: Path, tmp_path: Path) -> None:
    source, out = written(tmp_path, CONFIGURED), tmp_path / "out.pcap"
    done = pcnc("run", source, "--pcap", capture, "--out", out).check()
    assert "4 packets through limits ingress: 2 on to" in done.output
    assert "1  drop: malformed" in done.output
    assert packets_of(out) == list(zip(TIMES[:2], FRAMES[:2], strict=True))


def test_a_setting_and_a_chain_are_chosen(capture: Path, tmp_path: Path) -> None:
    source, out = written(tmp_path, CONFIGURED), tmp_path / "out.pcap"
    done = pcnc("run", source, "--pcap", capture, "--out", out, "--set", "least=65", "--json").check()
    assert (done.json["packets"], done.json["dropped"]) == (4, 4)
    done = pcnc("run", source, "--pcap", capture, "--out", out, "--chain", "egress", "--json").check()
    assert done.json["chain"] == "egress"
    assert packets_of(out) == []


def test_settings_that_are_none(capture: Path, tmp_path: Path) -> None:
    command = ("run", written(tmp_path, CONFIGURED), "--pcap", capture, "--out", tmp_path / "out.pcap", "--set")
    assert "did you mean `least`?" in pcnc(*command, "last=3").refused("no-such-setting")
    pcnc(*command, "least").refused("bad-setting")
    pcnc(*command, "least=256").refused("value-does-not-fit")
    pcnc(*command, "gateway=1").refused("type-mismatch")
    assert not (tmp_path / "out.pcap").exists()


def test_a_capture_that_is_none_or_of_something_else(tmp_path: Path) -> None:
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    command = ("run", FIREWALL, "--pcap", path, "--out", out)
    pcnc(*command).refused("no-such-file")
    for content in (b"", b"no capture at all, but long enough for a header", b"\n\r\r\n" + b"\xff" * 40):
        path.write_bytes(content)
        pcnc(*command).refused("not-a-capture")
    with open(path, "wb") as file:
        dpkt.pcap.Writer(file, linktype=101)
    pcnc(*command).refused("not-ethernet")
    assert not out.exists()


def test_a_capture_that_is_cut_off_leaves_nothing(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcap"
    out.write_bytes(b"what was there")
    whole = capture.read_bytes()
    for missing in (1, 4, 6, 11):
        capture.write_bytes(whole[:-missing])
        pcnc("run", FIREWALL, "--pcap", capture, "--out", out).refused("damaged-capture")
        assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([capture.name, out.name])


def test_a_capture_can_be_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "both.pcap"
    with open(path, "wb") as file:
        dpkt.pcap.Writer(file).writepkt(FRAMES[0], ts=TIMES[0])
    pcnc("run", FIREWALL, "--pcap", path, "--out", path).check()
    assert packets_of(path) == [(TIMES[0], FRAMES[0])]


# ---- graph


def test_a_graph_as_text_says_what_is_pruned() -> None:
    done = pcnc("graph", FIREWALL).check()
    assert "0 of 3 blocks run" in done.output
    assert "3 blocks run" in pcnc("graph", FIREWALL, "--general").check().output
    assert "\x1b" not in done.output


def test_a_graph_as_json_after_each_pass() -> None:
    names = [each["name"] for each in pcnc("passes", "--json").check().json]
    fields = [pcnc("graph", FIREWALL, "--after", name, "--json").check().json["chains"][0]["parses"]["fields"] for name in names]
    assert fields[0] == ["ipv4.dst", "ipv4.src"]
    assert fields[-1] == []
    whole = pcnc("graph", FIREWALL, "--general", "--json").check().json["chains"][0]
    assert [block["name"] for block in whole["blocks"] if not block["pruned"]][:3] == ["parser", "sources", "destinations"]
    assert pcnc("passes").check().output.startswith(names[0])


def test_a_graph_as_svg(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    assert pcnc("graph", FIREWALL, "--svg", path).check().output == f"{path}\n"
    assert path.read_text().startswith("<svg")
    assert pcnc("graph", FIREWALL, "--svg", "-").check().output.strip() == path.read_text().strip()
    pcnc("graph", FIREWALL, "--svg", tmp_path / "no" / "graph.svg").refused("no-such-file")


def test_what_there_is_not_to_draw(tmp_path: Path) -> None:
    assert "prune_parse" in pcnc("graph", FIREWALL, "--after", "magic").refused("no-such-pass")
    assert "`ingress`" in pcnc("graph", FIREWALL, "--chain", "egress").refused("no-such-chain")
    two = written(tmp_path, TWO)
    assert "--service a" in pcnc("graph", two).refused("which-service")
    assert "`b`" in pcnc("graph", two, "--service", "c").refused("no-such-service")
    assert "b · ingress" in pcnc("graph", two, "--service", "b").check().output


# ---- speed


@pytest.mark.parametrize("command", ["--version", "check", "rules", "stats"])
def test_a_command_imports_only_what_it_needs(command: str) -> None:
    arguments = {
        "--version": ["--version"],
        "check": ["check", str(FIREWALL)],
        "rules": ["rules", "nosuch", "sources", "add", "* -> drop"],
        "stats": ["stats", "nosuch"],
    }[command]
    heavy = {"pyroute2", "jinja2", "rich", "pydantic", "dpkt", "asyncio"} | (set() if command == "check" else {"lark", "networkx"})
    code = f"import sys\nfrom pcnc.cli.application import run\nrun({arguments!r})\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([COMMAND[0], "-c", code], env=environment(), capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
