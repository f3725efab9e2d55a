"""Statements as C: bodies of stages and actions, actions inlined, verdicts counted under their reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from pcnc.blocks import verdicts_of
from pcnc.checksums import IPV4, CoveringSum, covering
from pcnc.expression import Expression, FieldRef, LocalRead
from pcnc.expression_walk import walk
from pcnc.graph import Pipeline
from pcnc.line_directives import file_name, line_directive, quoted_line
from pcnc.program import Action, AssignField, AssignMeta, CallAction, If, Let, Statement, Verdict
from pcnc.source import Span
from pcnc_ebpf.frame import Frame
from pcnc_ebpf.layout import c_type, identifier
from pcnc_ebpf.names import Names, offset_member, present_bit, reason_constant
from pcnc_ebpf.write_expression import ExpressionWriter, bare
from pcnc_ebpf.write_fields import bytes_around, read_field, write_field

INTERNAL = "drop: internal"
TAIL_CALL = "drop: tail call"
MALFORMED = "drop: malformed"
NEXT = "next"


def end(reason: str) -> str:
    """The statement that ends the packet's way; the reason's first word is the verdict."""
    return f"return pcnc_end({reason_constant(reason)}, PCNC_{reason.split(':')[0].upper()});"


def source_comment(span: Span) -> str:
    """`firewall.pcn:12: ipv4.ttl -= 1`, the line that the C below comes from."""
    return f"/* {file_name(span.source.path)}:{span.line}: {quoted_line(span)} */"


def from_line(span: Span) -> list[str]:
    """Says, to people and to the compiler, which line the C below comes from."""
    return [source_comment(span), line_directive(span)]


class StatementWriter:
    """Writes the statements of one block. `uses_next` tells afterwards whether any of them jumps to the label `next`."""

    def __init__(self, pipeline: Pipeline, frame: Frame, hook: str, place: str) -> None:
        self._pipeline = pipeline
        self._frame = frame
        self._hook = hook
        self._place = place
        self._names = Names([pipeline.chain])
        self._locals: dict[str, str] = {}
        self.uses_next = False

    @property
    def expressions(self) -> ExpressionWriter:
        """Writes expressions with the locals that are in scope now."""
        return ExpressionWriter(self._read_field, self.presence, self._locals)

    def _read_field(self, field: FieldRef) -> str:
        member = self._pipeline.headers.members(field.header)[0]
        return f"frame->{self._frame.slot(FieldRef(member, field.name))}"

    def presence(self, headers: tuple[str, ...]) -> str:
        """Whether any of these headers is present, as a C condition."""
        bits = " | ".join(present_bit(header) for header in headers)
        return f"!!(frame->present & {bits if len(headers) == 1 else f'({bits})'})"

    def write(self, body: tuple[Statement, ...]) -> list[str]:
        """The lines of C for a list of statements; none for what stands behind a verdict."""
        lines: list[str] = []
        for index, statement in enumerate(body):
            match statement:
                case Let(name=name, value=value, span=span):
                    if self._is_read(name, body[index + 1 :]):
                        written = self.expressions.write(value)
                        self._locals = {**self._locals, name: self._names.take(name)}
                        lines += [*from_line(span), f"const {c_type(value.type.bits)} {self._locals[name]} = {written};"]
                case AssignMeta(name=name, value=value, span=span):
                    lines += [*from_line(span), f"frame->meta_{name} = {self.expressions.write(value)};"]
                case AssignField():
                    lines += self._assign(statement)
                case If(condition=condition, then=then, otherwise=otherwise, span=span):
                    lines += [*from_line(span), f"if ({self.expressions.condition(condition)}) {{"]
                    lines += [*self._nested(then), line_directive(span)]
                    if otherwise:
                        lines += ["} else {", *self._nested(otherwise), line_directive(span)]
                    lines.append("}")
                case Verdict(kind=kind, span=span):
                    lines += [line_directive(span), self._verdict(kind)]
                case CallAction(action=name, arguments=arguments, span=span):
                    action = self._pipeline.service.action(name)
                    values = [self.expressions.write(argument) for argument in arguments]
                    lines += [line_directive(span), *self.call(action, values)]
                case _:
                    assert_never(statement)
            if self._ends(statement):
                break
        return lines

    def _ends(self, statement: Statement) -> bool:
        return None not in verdicts_of((statement,), self._pipeline.service)

    def _nested(self, body: tuple[Statement, ...]) -> list[str]:
        outer = self._locals
        lines = ["\t" + line for line in self.write(body)]
        self._locals = outer
        return lines

    def call(self, action: Action, values: list[str]) -> list[str]:
        """An action's body with these C expressions as its arguments."""
        if len(action.body) == 1 and isinstance(action.body[0], Verdict):
            return [self._verdict(action.body[0].kind)]
        outer = self._locals
        inner: Mapping[str, str] = {
            parameter.name: self._names.take(parameter.name)
            for parameter in action.parameters
            if self._is_read(parameter.name, action.body)
        }
        lines = [*from_line(action.span), "{"]
        for parameter, value in zip(action.parameters, values, strict=True):
            if parameter.name in inner:
                lines.append(f"\tconst {c_type(parameter.type.bits)} {inner[parameter.name]} = {value};")
        self._locals = dict(inner)
        lines += ["\t" + line for line in self.write(action.body)]
        self._locals = outer
        return [*lines, line_directive(action.span), "}"]

    def _verdict(self, kind: str) -> str:
        if kind == "next":
            self.uses_next = True
            return "goto next;"
        return end(f"{kind}: {self._place}")

    def _is_read(self, name: str, body: tuple[Statement, ...]) -> bool:
        """Whether a local is read in what is written of these statements (names are unique inside a body)."""
        for index, statement in enumerate(body):
            match statement:
                case Let(name=other, value=value):
                    found = reads_local(value, name) and self._is_read(other, body[index + 1 :])
                case AssignMeta(value=value) | AssignField(value=value):
                    found = reads_local(value, name)
                case If(condition=condition, then=then, otherwise=otherwise):
                    found = reads_local(condition, name) or self._is_read(name, then) or self._is_read(name, otherwise)
                case CallAction(arguments=arguments):
                    found = any(reads_local(argument, name) for argument in arguments)
                case Verdict():
                    found = False
                case _:
                    assert_never(statement)
            if found:
                return True
            if self._ends(statement):
                return False
        return False

    # ---- assignments to header fields

    def _assign(self, statement: AssignField) -> list[str]:
        members = self._pipeline.headers.members(statement.field.header)
        width = c_type(statement.value.type.bits)
        value = self._names.take("value")
        lines = [*from_line(statement.span), "{", f"\tconst {width} {value} = {self.expressions.write(statement.value)};"]
        for index, member in enumerate(members):
            inner = self._assign_member(FieldRef(member, statement.field.name), value)
            if len(members) == 1:
                lines += ["\t" + line for line in inner]
            else:
                guard = f"if ({bare(self.presence((member,)))})" if index < len(members) - 1 else ""
                lines.append("\t" + " ".join(part for part in ("} else" if index else "", guard, "{") if part))
                lines += ["\t\t" + line for line in inner]
        if len(members) > 1:
            lines.append("\t}")
        return [*lines, "}"]

    def _assign_member(self, ref: FieldRef, value: str) -> list[str]:
        instance = self._pipeline.headers.instance(ref.header)
        field = instance.field(ref.name)
        sums = covering(self._pipeline.headers, ref)
        at = f"frame->{offset_member(ref.header)}"
        first, count = bytes_around(field)
        lines = [f"u8 *at = pcnc_bytes(ctx, {at}, {instance.length});", "if (!at)", "\t" + end(INTERNAL)]
        if sums:
            lines.append(f"const u32 before = pcnc_sum(at + {first}, {count});")
        lines += write_field(field, "at", value)
        if sums:
            lines.append(f"const u16 change = pcnc_change(before, pcnc_sum(at + {first}, {count}));")
        if self._hook == "tc" and ref.header == "vlan":
            shift = 16 - field.offset - field.type.bits
            keep = 0xFFFF ^ (field.type.maximum << shift)
            lines = [
                f"if ({at} == PCNC_BESIDE_THE_FRAME) {{",
                f"\tif (pcnc_write_tag(ctx, {keep:#x}, (u16)({value} << {shift})))",
                "\t\t" + end(INTERNAL),
                "} else {",
                *("\t" + line for line in lines),
                "}",
            ]
        if self._frame.holds(ref):
            lines.append(f"frame->{self._frame.slot(ref)} = {value};")
        for covered in sums:
            lines += self._update_sum(ref, covered, "change")
        return lines

    def _update_sum(self, ref: FieldRef, covered: CoveringSum, change: str) -> list[str]:
        holder = self._pipeline.headers.instance(covered.holder)
        checksum = holder.checksum
        assert checksum is not None
        held = FieldRef(covered.holder, checksum.field)
        field = holder.field(checksum.field)
        place = field.offset // 8
        at = f"frame->{offset_member(covered.holder)}"
        if not covered.pseudo and not covered.same_header:
            change = f"pcnc_aligned({change}, frame->{offset_member(ref.header)} ^ {at})"
        # A sum that has changed is a field that was written: the sums around it move, too.
        outer = covering(self._pipeline.headers, held)
        before, moved = f"{identifier(covered.holder)}_before", f"{identifier(covered.holder)}_change"
        # A sum over its own header alone is that of the header just written: `at` still points there.
        now = self._sum_now(at, place) if checksum.payload else read_field(field, "at")
        lines: list[str] = []
        if outer:
            lines += [f"const u16 {before} = {now};"]
        if checksum.payload:
            about = " | ".join(
                name for name, holds in (("PCNC_PSEUDO", covered.pseudo), ("PCNC_OPTIONAL", checksum.optional)) if holds
            )
            over = self.presence((IPV4,)) if covered.pseudo or checksum.optional else "0"
            lines += [f"if (pcnc_update_sum(ctx, {at} + {place}, {change}, {about or '0'}, {over}))", "\t" + end(INTERNAL)]
            if self._frame.holds(held):
                lines += [
                    f"at = pcnc_bytes(ctx, {at}, {holder.length});",
                    "if (!at)",
                    "\t" + end(INTERNAL),
                    f"frame->{self._frame.slot(held)} = {read_field(field, 'at')};",
                ]
        else:
            lines.append(f"pcnc_store16(at + {place}, pcnc_updated({read_field(field, 'at')}, {change}));")
            if self._frame.holds(held):
                lines.append(f"frame->{self._frame.slot(held)} = {read_field(field, 'at')};")
        if outer:
            lines.append(f"const u16 {moved} = pcnc_change({before}, {now});")
        for further in outer:
            lines += self._update_sum(held, further, moved)
        if covered.same_header:
            return lines
        return [f"if ({bare(self.presence((covered.holder,)))}) {{", *("\t" + line for line in lines), "}"]

    def _sum_now(self, at: str, place: int) -> str:
        return f"pcnc_sum_at(ctx, {at} + {place})"


def reads_local(expression: Expression, name: str) -> bool:
    """Whether an expression reads a local of that name."""
    return any(isinstance(part, LocalRead) and part.name == name for part in walk(expression))
