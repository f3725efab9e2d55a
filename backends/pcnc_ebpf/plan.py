"""From emitted chains to the manifest: where each value lies, which map each block wants, which files there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Literal, assert_never

import pcnc
from pcnc.blocks import Block, BranchBlock, ParseBlock, StageBlock, TableBlock, VerdictBlock, block_assigns
from pcnc.checksums import covering
from pcnc.expression import FieldRef
from pcnc.graph import Pipeline
from pcnc.line_directives import file_name, without_directives
from pcnc.lower import lower
from pcnc.manifest import (
    FORMAT,
    ActionPlan,
    BlockPlan,
    ChainPlan,
    ColumnPlan,
    ConfigPlan,
    EdgePlan,
    EntryPlan,
    Hook,
    Manifest,
    Place,
    TableEntry,
    TablePlan,
    Variant,
)
from pcnc.optimise import optimise
from pcnc.program import Program, Service
from pcnc.program_words import ChainName
from pcnc.rules import TableSchema
from pcnc.shape import Shape
from pcnc_ebpf.emit import EmittedChain, emit, render_entry
from pcnc_ebpf.layout import (
    Layout,
    argument_layout,
    arguments_offset,
    classifier_of,
    entry_layout,
    key_layout,
    lay_out,
    member_name,
    storage,
    value_size,
)
from pcnc_ebpf.template_view import summarise

INCLUDE = "include/pcnc_block.h"


@dataclass(frozen=True, slots=True)
class CompiledVariant:
    """A variant and the C of its blocks by path, line directives included."""

    variant: Variant
    code: Mapping[str, str]


def hook_of(chain: ChainName, hook: Hook) -> Hook:
    """Where a chain runs: XDP sees only what comes in, so egress is always at TC."""
    return "tc" if chain == "egress" else hook


def compile_variant(program: Program, service: Service, shape: Shape, hook: Hook, name: str) -> CompiledVariant:
    """Lowers, optimises and emits a service for one shape of its rules; files lie under `name`/."""
    pipelines = [optimise(pipeline, shape) for pipeline in lower(program, service)]
    return plan_variant([emit(pipeline, hook_of(pipeline.chain, hook)) for pipeline in pipelines], shape, name)


def plan_variant(chains: list[EmittedChain], shape: Shape, name: str) -> CompiledVariant:
    """The plan of emitted chains; a table that stands in several of them has one plan, and one map."""
    code: dict[str, str] = {}
    tables: dict[str, TablePlan] = {}
    plans = []
    for chain in chains:
        folder = f"{name}/{chain.pipeline.chain}"
        blocks = []
        for block in chain.blocks:
            path = f"{folder}/{block.slot}_{block.name}"
            code[f"{path}.bpf.c"] = block.code
            blocks.append(
                BlockPlan(
                    name=block.name,
                    function=block.function,
                    slot=block.slot,
                    code=f"{path}.bpf.c",
                    object=f"{path}.bpf.o",
                    kind=_kind(block.block),
                    summary=summarise(block.block, chain.pipeline),
                    table=_table_of(block.block),
                    source_line=_line(block.block),
                )
            )
            if isinstance(block.block, TableBlock):
                tables[block.block.table.name] = plan_table(block.block, chain.pipeline)
        edges = tuple(EdgePlan(edge.origin, edge.target, edge.label) for edge in chain.pipeline.edges)
        plans.append(
            ChainPlan(
                chain=chain.pipeline.chain,
                hook=chain.hook,
                blocks=tuple(blocks),
                edges=edges,
                frame_size=chain.frame.layout.size,
                reasons=chain.reasons,
                parses=parses(chain.pipeline),
                rewrites=rewrites(chain.pipeline),
            )
        )
    return CompiledVariant(Variant(name, shape, tuple(plans), tuple(tables.values())), code)


def parses(pipeline: Pipeline) -> tuple[str, ...]:
    """What the parser looks for, in the words of PCN: fields extracted, then headers only located or asked for."""
    parser = pipeline.parse_block()
    if parser is None:
        return ()
    fields = {str(field) for field in parser.needs.fields}
    located = parser.needs.headers - {field.header for field in parser.needs.fields}
    order = [instance.name for instance in pipeline.headers.instances]
    return (*sorted(fields, key=lambda name: (order.index(name.rpartition(".")[0]), name)), *sorted(located, key=order.index))


def rewrites(pipeline: Pipeline) -> tuple[str, ...]:
    """The fields assigned that a transport's checksum covers, sorted."""
    headers = pipeline.headers
    found = set()
    for block in pipeline.blocks.values():
        for ref in block_assigns(block, pipeline.service):
            for member in headers.members(ref.header):
                holders = (headers.instance(each.holder).checksum for each in covering(headers, FieldRef(member, ref.name)))
                if any(checksum is not None and checksum.payload for checksum in holders):
                    found.add(str(ref))
    return tuple(sorted(found))


def _kind(block: Block) -> Literal["parser", "table", "stage", "branch", "end"]:
    match block:
        case ParseBlock():
            return "parser"
        case TableBlock():
            return "table"
        case StageBlock():
            return "stage"
        case BranchBlock():
            return "branch"
        case VerdictBlock():
            return "end"
        case _:
            assert_never(block)


def _table_of(block: Block) -> str:
    match block:
        case TableBlock(table=table):
            return table.name
        case StageBlock(default_of=table) if table is not None:
            return table.name
        case _:
            return ""


def _line(block: Block) -> int:
    match block:
        case TableBlock(table=table):
            return table.span.line
        case StageBlock(span=span) | BranchBlock(span=span):
            return span.line
        case _:
            return 0


def plan_table(block: TableBlock, pipeline: Pipeline) -> TablePlan:
    """Where everything lies in the keys and values of a table's map."""
    classifier = classifier_of(block)
    columns = [(index, block.table.columns[index]) for index in block.columns]
    key = key_layout(block) if classifier != "list" else Layout((), 4)
    match_part = entry_layout(block) if classifier == "list" else key

    def place(member: str, bits: int) -> Place:
        found = match_part.member(member)
        return Place(found.offset, found.size, bits)

    plans = []
    for index, column in columns:
        name, bits = member_name(column), column.type.bits
        if classifier != "list":
            plans.append(ColumnPlan(index, place(name, bits), None))
        elif column.kind == "range":
            plans.append(ColumnPlan(index, place(f"{name}_low", bits), place(f"{name}_high", bits)))
        else:
            plans.append(ColumnPlan(index, place(name, bits), place(f"{name}_mask", bits)))
    start = arguments_offset(block)
    actions = []
    for action_name in block.actions:
        action = pipeline.service.action(action_name)
        layout = argument_layout(action.parameters)
        arguments = tuple(
            Place(start + layout.member(parameter.name).offset, layout.member(parameter.name).size, parameter.type.bits)
            for parameter in action.parameters
        )
        actions.append(ActionPlan(action_name, block.table.actions.index(action_name), arguments))
    return TablePlan(
        table=block.table.name,
        classifier=classifier,
        key_size=key.size,
        value_size=value_size(block, [pipeline.service.action(name) for name in block.actions]),
        present=key.member("present").offset if classifier == "lpm_trie" else 0,
        columns=tuple(plans),
        actions=tuple(actions),
    )


def plan_manifest(
    program: Program, service: Service, hook: Hook, variants: list[CompiledVariant]
) -> tuple[Manifest, dict[str, str]]:
    """The manifest of a service with these variants, and every C file by path, as it is compiled. Objects come when it is built."""
    configs = sorted(service.configs, key=lambda config: -storage(config.type.bits))
    layout = lay_out([(config.name, storage(config.type.bits)) for config in configs])
    code = {INCLUDE: block_header()}
    entries = []
    for chain in service.chains:
        path = f"entry_{chain.name}"
        at = hook_of(chain.name, hook)
        code[f"{path}.bpf.c"] = render_entry(service.name, chain, at)
        entries.append(EntryPlan(chain.name, at, f"{path}.bpf.c", f"{path}.bpf.o"))
    for variant in variants:
        code.update(variant.code)
    manifest = Manifest(
        format=FORMAT,
        pcnc=pcnc.__version__,
        service=service.name,
        source=file_name(program.source.path),
        source_hash=sha256(program.source.text.encode()).hexdigest(),
        hook=hook,
        tables=tuple(_table_entry(service, schema) for schema in service.schemas),
        configs=tuple(
            ConfigPlan(
                config.name,
                config.type,
                config.value,
                Place(layout.member(config.name).offset, layout.member(config.name).size, config.type.bits),
            )
            for config in configs
        ),
        config_size=layout.size,
        entries=tuple(entries),
        variants=tuple(variant.variant for variant in variants),
        needs=_needs(entries, [variant.variant for variant in variants]),
        hashes=tuple((path, sha256(without_directives(text).encode()).hexdigest()) for path, text in sorted(code.items())),
    )
    return manifest, code


def _table_entry(service: Service, schema: TableSchema) -> TableEntry:
    table = service.table(schema.name)
    written = table.default.span.text.strip()
    # A default that is not written down stands where its table does.
    default = written if written.startswith(table.default.action) else table.default.action
    return TableEntry(schema, table.count_packets, table.count_bytes, default, table.rules, table.span.line)


def _needs(entries: list[EntryPlan], variants: list[Variant]) -> tuple[str, ...]:
    needs = {entry.hook: None for entry in entries}
    classifiers = {table.classifier for variant in variants for table in variant.tables}
    extra = [word for word, holds in (("bpf_loop", "list" in classifiers), ("lpm_trie", "lpm_trie" in classifiers)) if holds]
    return (*needs, *extra)


def block_header() -> str:
    """The text of `pcnc_block.h`."""
    return (resources.files("pcnc_ebpf") / "include" / "pcnc_block.h").read_text()
