"""The C of a few examples as people read it. PCNC_BLESS=1 writes it anew; read the difference before you commit it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pcnc.compile import check
from pcnc.line_directives import without_directives
from pcnc.manifest import Hook
from pcnc.shape import widest_shape
from pcnc.source import Source
from pcnc_ebpf.plan import compile_variant, plan_manifest

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"


def emitted(example: str, hook: Hook) -> dict[str, str]:
    """Every C file of an example with all its tables, by path, as it is compiled."""
    path = ROOT / "examples" / f"{example}.pcn"
    program = check(Source(str(path), path.read_text())).program
    (service,) = program.services
    compiled = compile_variant(program, service, widest_shape(service.schemas), hook, "general")
    _, code = plan_manifest(program, service, hook, [compiled])
    return {name: text for name, text in code.items() if name.endswith(".c")}


@pytest.mark.parametrize(("example", "hook"), [("firewall", "xdp"), ("acl", "xdp"), ("remark", "tc")])
def test_the_c_is_as_it_was_read(example: str, hook: Hook) -> None:
    folder = GOLDEN / f"{example}_{hook}"
    files = {name.replace("/", "."): without_directives(text) for name, text in emitted(example, hook).items()}
    if os.environ.get("PCNC_BLESS") == "1":
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in files.items():
            (folder / name).write_text(text)
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    assert files == kept


def test_the_same_input_gives_the_same_bytes() -> None:
    assert emitted("dualstack", "xdp") == emitted("dualstack", "xdp")


def test_no_path_of_the_machine_is_in_the_c() -> None:
    assert not [text for text in emitted("acl", "tc").values() if str(ROOT) in text]
