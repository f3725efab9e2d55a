"""The grammar, the prelude, and the cache of both."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import lark
import pytest

import pcnc_grammar
from pcnc.parse import parse, parse_prelude
from pcnc.syntax import (
    HeaderDeclaration,
)
from tests.syntax_trees import tree

pytestmark = pytest.mark.text

ROOT = Path(__file__).parent.parent


def test_every_terminal_is_named() -> None:
    parser = lark.Lark(pcnc_grammar.grammar_text(), parser="lalr", maybe_placeholders=False)
    assert not [t.name for t in parser.terminals if t.name.startswith("__")]


def test_the_grammar_has_no_conflicts(capfd: pytest.CaptureFixture[str]) -> None:
    level = lark.logger.level
    lark.logger.setLevel("DEBUG")
    try:
        lark.Lark(pcnc_grammar.grammar_text(), parser="lalr", maybe_placeholders=False, debug=True)
    finally:
        lark.logger.setLevel(level)
    assert "onflict" not in capfd.readouterr().err


def test_the_prelude() -> None:
    file = parse_prelude()
    assert file == parse(pcnc_grammar.prelude_source())
    headers = [item.name.text for item in file.items if isinstance(item, HeaderDeclaration)]
    assert headers == ["eth", "vlan", "arp", "ipv4", "ipv6", "ipv6_ext", "tcp", "udp", "icmp", "icmpv6"]


READ_FIREWALL = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/grammar"]
from pcnc.parse import parse, parse_prelude
from pcnc.source import Source
print(len(parse(Source("x", "service s {{ chain ingress {{ drop }} }}")).items), len(parse_prelude().items) > 10)
"""


def start(cache: Path | str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), **more}
    return subprocess.run(
        [sys.executable, "-c", READ_FIREWALL.format(root=str(ROOT))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def expect_it_works(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 True\n", "")


def test_the_cache_is_made_and_used(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    made = sorted((tmp_path / "pcnc").iterdir())
    assert [path.name.split("-")[0] for path in made] == ["grammar", "prelude"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in made)
    times = [path.stat().st_mtime_ns for path in made]
    expect_it_works(start(tmp_path))
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "pcnc").iterdir())] == times


@pytest.mark.parametrize("content", [b"", b"noise", b"\x80\x04N.", b"\x80\x04]\x94."])
def test_a_damaged_cache_is_passed_over(tmp_path: Path, content: bytes) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        path.write_bytes(content)
    expect_it_works(start(tmp_path))


def test_a_cache_cut_short_is_passed_over(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    expect_it_works(start(tmp_path))


def test_a_cache_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    expect_it_works(start(tmp_path))
    for path in (tmp_path / "pcnc").iterdir():
        # Reading this would end the process.
        path.write_bytes(b"cposix\n_exit\n(I3\ntR.")
        path.chmod(0o666)
    expect_it_works(start(tmp_path))


def test_without_a_place_for_the_cache(tmp_path: Path) -> None:
    expect_it_works(start("/proc/nowhere"))
    (tmp_path / "file").write_text("")
    expect_it_works(start(tmp_path / "file"))
    expect_it_works(start("relative", HOME=str(tmp_path)))
    assert (tmp_path / ".cache" / "pcnc").is_dir()


def test_a_thousand_lines_are_read_fast() -> None:
    """400 ms are wanted; the test lets a loaded machine have three times as many."""
    lines = ["service big {"]
    for i in range(83):
        lines += [
            f"    table t{i} {{",
            "        match   ipv4.src: lpm, tcp.dport: exact",
            f"        action  drop, next, mark{i}",
            "        default next",
            "    }",
            f"    action mark{i}(a: u8, b: u16) {{",
            "        if tcp and tcp.dport in (80, 443, 8000..8100) {",
            f"            let x{i} = (a + 3) * 4 & 0xff",
            f"            if x{i} == 4 or ipv4.src in 10.0.0.0/8 {{ drop }} else {{ m = x{i} }}",
            "        }",
            "    }",
            f"    rules t{i} {{ 10.0.0.0/8, tcp.dport=80 -> drop }}",
        ]
    text = "\n".join([*lines, "}", ""])
    assert text.count("\n") > 990
    tree("")
    begin = time.process_time()
    tree(text)
    assert time.process_time() - begin < 1.2
