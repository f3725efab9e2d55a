"""`pcnc graph --graphml`: what other tools read of a pipeline is the pipeline."""

from __future__ import annotations

from pathlib import Path

import networkx
from typer.testing import CliRunner

from pcnc.cli.application import application

ROOT = Path(__file__).parent.parent


def test_graphml_has_every_block_and_way() -> None:
    arguments = ["graph", str(ROOT / "examples" / "remark.pcn"), "--graphml", "-"]
    result = CliRunner().invoke(application(arguments), arguments)
    assert result.exit_code == 0
    graph = networkx.parse_graphml(result.stdout, force_multigraph=True)
    assert graph.nodes["ingress.classes"]["kind"] == "table"
    assert {target for _, target in graph.out_edges("ingress.branch")} == {"ingress.classes", "ingress.next"}
    labels = {(origin, data["label"]): target for origin, target, data in graph.edges(data=True)}
    assert labels["ingress.parser", "malformed"] == "ingress.drop"
    assert labels["egress.strip", "next"] == "egress.next"
