"""What a quick command pays for: the runtime's modules import no library that it may not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("pyroute2", "lark", "networkx", "jinja2", "rich", "concurrent.futures.thread", "asyncio")


@pytest.mark.parametrize("module", ["attach", "build", "devices", "kernel_maps", "objects", "pins", "programs"])
def test_a_module_of_the_runtime_is_light(module: str) -> None:
    code = f"import sys, pcnc_runtime.{module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_needs_no_libbpf() -> None:
    code = "import pcnc_runtime.objects, pcnc_runtime.attach, pcnc_runtime.errors as e\ntry: pcnc_runtime.attach.library()\n"
    code += "except e.RuntimeProblem as p: print(p.name)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}", "PCNC_LIBBPF": "libbpf.so.none"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "no-libbpf\n"


def test_a_library_without_the_functions_is_told() -> None:
    code = (
        "import pcnc_runtime.libbpf as l, pcnc_runtime.errors as e\ntry: l.library()\nexcept e.RuntimeProblem as p: print(p.name)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'runtime'}", "PCNC_LIBBPF": "libc.so.6"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "no-libbpf\n"
