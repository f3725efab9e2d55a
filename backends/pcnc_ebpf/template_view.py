"""What the templates see: each block turned into plain strings and lists, so that a template holds no logic of its own."""

from __future__ import annotations

from typing import Any, assert_never

from pcnc.blocks import Block, BranchBlock, ParseBlock, StageBlock, TableBlock, VerdictBlock, block_needs, verdicts_of
from pcnc.graph import Pipeline
from pcnc.line_directives import file_name, line_directive
from pcnc.source import Span
from pcnc_ebpf.frame import Frame
from pcnc_ebpf.layout import (
    Layout,
    argument_layout,
    c_type,
    classifier_of,
    entry_layout,
    identifier,
    key_layout,
    lay_out,
    live_columns,
    member_name,
    storage,
)
from pcnc_ebpf.names import constant, function_name, reason_constant
from pcnc_ebpf.write_expression import bare
from pcnc_ebpf.write_parser import ParserWriter
from pcnc_ebpf.write_statements import INTERNAL, NEXT, TAIL_CALL, StatementWriter, end, source_comment

View = dict[str, Any]

LONGEST_SUMMARY = 72
"""Characters of source that stand for a stage."""


class BlockView:
    """Makes the view of each block of one pipeline."""

    def __init__(self, pipeline: Pipeline, frame: Frame, hook: str, reasons: tuple[str, ...], slots: dict[str, int]) -> None:
        self._pipeline = pipeline
        self._frame = frame
        self._hook = hook
        self._reasons = reasons
        self._slots = slots

    def view(self, block: Block) -> tuple[str, View]:
        """The template's name and what it is given."""
        shared = self._shared(block)
        match block:
            case ParseBlock():
                lines = ParserWriter(self._pipeline, self._frame, self._hook, self._place(block)).write()
                return "parser.c.j2", {**shared, "body": lines, **self._going_on(block, "next", labelled=False)}
            case StageBlock():
                return "stage.c.j2", {**shared, **self._stage(block)}
            case BranchBlock():
                return "branch.c.j2", {**shared, **self._branch(block)}
            case TableBlock():
                return "table.c.j2", {**shared, **self._table(block)}
            case VerdictBlock(name=name):
                reason = NEXT if name == "next" else f"{name}: {INTERNAL}"
                return "end.c.j2", {**shared, "body": [end(reason)], "reaches_next": False}
            case _:
                assert_never(block)

    def _shared(self, block: Block) -> View:
        service = self._pipeline.service
        needs = block_needs(block, service, self._pipeline.headers)
        uses_frame = isinstance(block, ParseBlock) or bool(needs.headers or needs.metas)
        members = self._frame.layout.members
        targets = [edge.target for edge in self._pipeline.edges if edge.origin == block.name and edge.target in self._slots]
        config = lay_out(sorted(((c.name, storage(c.type.bits)) for c in service.configs), key=lambda pair: -pair[1]))
        return {
            "service": service.name,
            "chain": self._pipeline.chain,
            "name": block.name,
            "summary": summarise(block, self._pipeline),
            "source": file_name(service.span.source.path),
            "place": line_directive(self._place(block)),
            "hook": self._hook,
            "section": self._hook,
            "function": function_name(block.name if not isinstance(block, VerdictBlock) else "end"),
            "slots": [{"constant": _slot(target), "index": self._slots[target]} for target in dict.fromkeys(targets)],
            "reasons": [{"constant": reason_constant(reason), "index": index} for index, reason in enumerate(self._reasons)],
            "uses_frame": uses_frame and bool(members),
            "frame_members": [member.declaration for member in members] if uses_frame else [],
            "bits": [{"constant": constant, "index": bit} for constant, bit in self._frame.bits],
            "config_members": [member.declaration for member in config.members] if needs.configs else [],
            "end_internal": end(INTERNAL),
        }

    def _place(self, block: Block) -> Span:
        """The line that what belongs to no other line comes from: the declaration of the table, stage or chain."""
        match block:
            case TableBlock(table=table):
                return table.span
            case StageBlock(span=span) | BranchBlock(span=span):
                return span
            case ParseBlock() | VerdictBlock():
                return next(chain for chain in self._pipeline.service.chains if chain.name == self._pipeline.chain).span
            case _:
                assert_never(block)

    def _going_on(self, block: Block, label: str, labelled: bool, reached: bool = True) -> View:
        return {"reaches_next": reached, "labels_next": labelled, "go_on": self._jump(block, label) if reached else []}

    def _jump(self, block: Block, label: str) -> list[str]:
        target = self._pipeline.successor(block.name, label)
        assert target is not None
        if target not in self._slots:
            return [end(NEXT)]
        return [f"pcnc_jump(ctx, {_slot(target)});", end(TAIL_CALL)]

    def _counting(self, block: TableBlock | StageBlock) -> View:
        table = block.table if isinstance(block, TableBlock) else block.default_of
        if table is None or not (table.count_packets or table.count_bytes):
            return {"counters": "", "bytes": ""}
        return {"counters": f"{table.name}_counters", "bytes": "pcnc_length(ctx)" if table.count_bytes else "0"}

    def _stage(self, block: StageBlock) -> View:
        place = f"default {block.default_of.name}" if block.default_of is not None else f"stage {block.stage}"
        writer = StatementWriter(self._pipeline, self._frame, self._hook, place)
        body = writer.write(block.body)
        if block.default_of is not None and body and body[-1] == "goto next;":
            # A lone jump to the line below reads as a riddle.
            body.pop()
            writer.uses_next = any("goto next;" in line for line in body)
        reached = self._pipeline.successor(block.name, "next") is not None
        return {"body": body, **self._counting(block), **self._going_on(block, "next", writer.uses_next, reached)}

    def _branch(self, block: BranchBlock) -> View:
        writer = StatementWriter(self._pipeline, self._frame, self._hook, "")
        return {
            "comment": source_comment(block.span),
            "condition": writer.expressions.condition(block.condition),
            "then": self._jump(block, "then"),
            "otherwise": self._jump(block, "else"),
            "reaches_next": False,
        }

    def _table(self, block: TableBlock) -> View:
        service, table = self._pipeline.service, block.table
        classifier = classifier_of(block)
        uses_next = False
        actions: list[View] = []
        for name in block.actions:
            action = service.action(name)
            writer = StatementWriter(self._pipeline, self._frame, self._hook, f"rule {table.name}")
            values = [f"rule->arguments.{name}.{parameter.name}" for parameter in action.parameters]
            lines = writer.call(action, values)
            falls = None in verdicts_of(action.body, service)
            uses_next = uses_next or writer.uses_next
            actions.append({"id": table.actions.index(name), "name": name, "lines": lines, "falls": falls})
        writer = StatementWriter(self._pipeline, self._frame, self._hook, f"default {table.name}")
        default = writer.write((table.default,))
        uses_next = uses_next or writer.uses_next
        reached = self._pipeline.successor(block.name, "next") is not None
        return {
            "table": identifier(table.name),
            "classifier": classifier,
            "matched": source_comment(table.span)[3:-3],
            "actions": actions,
            "default": [line_directive(table.default.span), *default],
            "arguments": self._arguments(block),
            "columns": self._columns(block),
            "groups": self._groups(block, writer),
            "key_members": [member.declaration for member in key_layout(block).members] if classifier != "list" else [],
            "entry_members": [member.declaration for member in entry_layout(block).members] if classifier == "list" else [],
            "fill_key": self._fill_key(block, writer) if classifier != "list" else [],
            "lead": _lead(block),
            "guard": self._guard(block, writer),
            **self._counting(block),
            **self._going_on(block, "next", uses_next, reached),
        }

    def _arguments(self, block: TableBlock) -> list[View]:
        layouts = [(name, argument_layout(self._pipeline.service.action(name).parameters)) for name in block.actions]
        return [
            {"name": name, "members": [member.declaration for member in layout.members]} for name, layout in layouts if layout.size
        ]

    def _columns(self, block: TableBlock) -> list[View]:
        return [
            {
                "member": member_name(column),
                "type": c_type(column.type.bits),
                "kind": column.kind,
                "place": line_directive(column.value.span),
            }
            for column in live_columns(block)
        ]

    def _groups(self, block: TableBlock, writer: StatementWriter) -> list[View]:
        """The columns by what must be present for them: how a search is filled."""
        groups: dict[tuple[str, ...], list[int]] = {}
        columns = live_columns(block)
        for position, column in enumerate(columns):
            groups.setdefault(column.headers, []).append(position)
        return [
            {
                "presence": bare(writer.presence(headers)) if headers else "",
                "bits": f"{sum(1 << position for position in positions):#x}",
                "lines": [
                    line
                    for column in (columns[position] for position in positions)
                    for line in (
                        line_directive(column.value.span),
                        f"search.{member_name(column)} = {writer.expressions.write(column.value)};",
                    )
                ],
            }
            for headers, positions in groups.items()
        ]

    def _guard(self, block: TableBlock, writer: StatementWriter) -> str:
        """An absent field equals nothing: without every exact field there is nothing to look up."""
        exact = [column for column in live_columns(block) if column.kind != "lpm" and column.headers]
        asked = list(dict.fromkeys(writer.presence(column.headers) for column in exact))
        return bare(asked[0]) if len(asked) == 1 else " && ".join(asked)

    def _fill_key(self, block: TableBlock, writer: StatementWriter) -> list[str]:
        big_endian = classifier_of(block) == "lpm_trie"
        layout = key_layout(block)
        lines = [f"key->prefixlen = {(layout.size - 4) * 8};"] if big_endian else []
        for column in live_columns(block):
            value, bits = writer.expressions.write(column.value), storage(column.type.bits) * 8
            if big_endian:
                shift = bits - column.type.bits
                value = f"pcnc_big{bits}({f'(u{bits}){value} << {shift}' if shift else value})"
            fill = [f"key->{member_name(column)} = {value};"]
            if column.kind == "lpm":
                fill = [f"pcnc_write_pair(&key->present, 1, {value});"] if _is_pair(layout) else ["key->present = 1;", *fill]
                if column.headers:
                    fill = [f"if ({bare(writer.presence(column.headers))}) {{", *(f"\t{line}" for line in fill), "}"]
            lines += [line_directive(column.value.span), *fill]
        return lines


def _is_pair(layout: Layout) -> bool:
    """Whether the word `present` and the address behind it are eight bytes together."""
    return layout.size - layout.member("present").offset == 8


def _lead(block: TableBlock) -> int:
    """Bytes in front of a key that put such a pair on a multiple of eight."""
    if classifier_of(block) != "lpm_trie" or not _is_pair(key_layout(block)):
        return 0
    return -key_layout(block).member("present").offset % 8


def _slot(block: str) -> str:
    return f"SLOT_{constant(block)}"


def summarise(block: Block, pipeline: Pipeline) -> str:
    """What a block does, in a line, for the head of its file and for pictures."""
    match block:
        case ParseBlock(needs=needs):
            fields = sorted(str(field) for field in needs.fields)
            rest = sorted(needs.headers - {field.header for field in needs.fields})
            return "extracts " + ", ".join(fields + [f"the place of {name}" for name in rest])
        case TableBlock():
            columns = ", ".join(f"{column.name} ({column.kind})" for column in live_columns(block))
            return f"matches {columns or 'any packet'}"
        case StageBlock(default_of=None, body=body):
            return _shortened("; ".join(statement.span.text for statement in body)) or "does nothing"
        case StageBlock(default_of=table):
            return f"the default of {table.name}, which has no rules" if table else ""
        case BranchBlock(condition=condition):
            return _shortened(f"if {condition.span.text}")
        case VerdictBlock():
            return "ends every packet's way"
        case _:
            assert_never(block)


def _shortened(code: str) -> str:
    """Source text on one line, as much of it as fits a card, and fit to stand in a comment."""
    line = " ".join(code.split()).replace("*/", "* /").replace("/*", "/ *")
    return line if len(line) <= LONGEST_SUMMARY else f"{line[: LONGEST_SUMMARY - 1].rstrip()}…"
