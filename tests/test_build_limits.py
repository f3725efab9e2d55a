"""Programs at the edge of what one eBPF program holds."""

from __future__ import annotations

import pytest

from pcnc.cli.compile_service import Chosen, build_service
from pcnc_runtime.errors import RuntimeProblem
from tests.pipelines import compile_text

pytestmark = pytest.mark.clang


def test_a_stage_too_long_for_one_program_is_told_in_a_sentence() -> None:
    writes = "\n".join(f"ipv4.dst = 10.0.{number // 250}.{number % 250}" for number in range(400))
    program, service = compile_text(f"service s {{ chain ingress {{ stage t {{ if ipv4 {{\n{writes}\n}} }} }} }}")
    with pytest.raises(RuntimeProblem) as raised:
        build_service(Chosen(program, service), "xdp")
    assert raised.value.name == "block-too-long"
    assert "several stages" in raised.value.help
