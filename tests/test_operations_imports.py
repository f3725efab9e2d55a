"""What a change of rules pays before it begins: the runtime imports no compiler and no library for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = (
    "pyroute2",
    "lark",
    "networkx",
    "jinja2",
    "rich",
    "typer",
    "asyncio",
    "tempfile",
    "pcnc.program",
    "pcnc_ebpf",
    "pcnc_grammar",
)


def test_a_change_of_rules_imports_nothing_heavy() -> None:
    code = f"import sys, pcnc_runtime.operations; print([m for m in {HEAVY!r} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
