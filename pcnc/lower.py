"""From the resolved program to pipeline graphs: each step of a chain becomes a block."""

from __future__ import annotations

from typing import assert_never

from pcnc.blocks import Block, BranchBlock, ParseBlock, StageBlock, TableBlock, VerdictBlock
from pcnc.diagnostics import CompileError
from pcnc.graph import MAX_PROGRAMS_ON_A_PATH, Edge, Pipeline, expected_labels
from pcnc.parse_graph import Headers
from pcnc.problems import pipeline_too_long
from pcnc.program import ApplyTable, Branch, Chain, Program, RunStage, Service, Step

PARSER = "parser"


def lower(program: Program, service: Service) -> tuple[Pipeline, ...]:
    """One pipeline for each chain of a service, nothing pruned yet.

    Raises CompileError where a packet could need more tail calls than the kernel allows.
    """
    pipelines = tuple(_lower_chain(service, program.headers, chain) for chain in service.chains)
    for chain, pipeline in zip(service.chains, pipelines, strict=True):
        length = pipeline.longest_path()
        if length > MAX_PROGRAMS_ON_A_PATH:
            raise CompileError((pipeline_too_long(chain.name, length, MAX_PROGRAMS_ON_A_PATH, chain.span),))
    return pipelines


class _Lowering:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.blocks: dict[str, Block] = {}
        self.edges: list[Edge] = []
        self.names: dict[int, str] = {}
        self.taken: set[str] = {PARSER, "drop", "pass", "next"}

    def name_steps(self, steps: tuple[Step, ...]) -> None:
        """Names are given from the first step to the last; edges are made from the last to the first."""
        for step in steps:
            match step:
                case ApplyTable(table=name) | RunStage(stage=name):
                    self._take(step, name)
                case Branch(then=then, otherwise=otherwise):
                    self._take(step, "branch")
                    self.name_steps(then)
                    self.name_steps(otherwise)
                case _:
                    assert_never(step)

    def _take(self, step: Step, wanted: str) -> None:
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        self.names[id(step)] = name

    def link_steps(self, steps: tuple[Step, ...], successor: str) -> str:
        """Adds the blocks of these steps in front of `successor` and returns the first one's name."""
        for step in reversed(steps):
            name = self.names[id(step)]
            match step:
                case ApplyTable(table=table_name):
                    table = self.service.table(table_name)
                    self._add(TableBlock(name, table, tuple(range(len(table.columns))), table.actions), successor)
                case RunStage(stage=stage_name):
                    stage = self.service.stage(stage_name)
                    self._add(StageBlock(name, stage.name, stage.body, None, stage.span), successor)
                case Branch(condition=condition, then=then, otherwise=otherwise):
                    self.edges.append(Edge(name, self.link_steps(then, successor), "then"))
                    self.edges.append(Edge(name, self.link_steps(otherwise, successor), "else"))
                    self.blocks[name] = BranchBlock(name, condition, step.span)
                case _:
                    assert_never(step)
            successor = name
        return successor

    def _add(self, block: TableBlock | StageBlock, successor: str) -> None:
        self.blocks[block.name] = block
        for label in sorted(expected_labels(block, self.service)):
            self.edges.append(Edge(block.name, successor if label == "next" else label, label))


def _lower_chain(service: Service, headers: Headers, chain: Chain) -> Pipeline:
    lowering = _Lowering(service)
    lowering.name_steps(chain.steps)
    first = lowering.link_steps(chain.steps, "next")
    verdicts: dict[str, Block] = {"next": VerdictBlock("next"), "drop": VerdictBlock("drop"), "pass": VerdictBlock("pass")}
    ordered = {name: lowering.blocks[name] for name in lowering.names.values()}
    pipeline = Pipeline(service, headers, chain.name, {**ordered, **verdicts}, tuple(lowering.edges), first)
    parser = ParseBlock(PARSER, pipeline.needs())
    edges = (Edge(PARSER, first, "next"), Edge(PARSER, "drop", "malformed"), *lowering.edges)
    whole = pipeline.replace({PARSER: parser, **ordered, **verdicts}, edges, PARSER)
    whole.check()
    return whole
