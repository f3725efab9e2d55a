"""The parser as C: one labelled piece for each header that has to be found, joined by gotos along the parse graph."""

from __future__ import annotations

from pcnc.expression import Compare, Constant, Expression, FieldRead, FieldRef, Membership
from pcnc.expression_walk import fields_read
from pcnc.graph import Pipeline
from pcnc.line_directives import line_directive
from pcnc.parse_graph import HeaderInstance, Headers
from pcnc.rules import Interval, MaskedValue
from pcnc.source import Span
from pcnc_ebpf.frame import Frame
from pcnc_ebpf.layout import c_type, identifier
from pcnc_ebpf.names import offset_member, present_bit
from pcnc_ebpf.wanted_headers import wanted_at
from pcnc_ebpf.write_expression import ExpressionWriter, bare
from pcnc_ebpf.write_fields import read_field
from pcnc_ebpf.write_statements import MALFORMED, end, source_comment

ROOT = "eth"

METAS_AT_ONCE = 64
"""How many are set to 0 in a row: of more than 1,024 bytes clang makes a call of memset, which eBPF does not have."""

KEEPS_STORES_APART = 'asm volatile("" ::: "memory");'


def parsed_headers(headers: Headers, wanted: frozenset[str]) -> tuple[str, ...]:
    """The instances that have to be parsed to find the wanted ones, in order of declaration; the root always."""
    found = {ROOT}
    ahead = list(wanted)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead.extend(parent.header for parent in headers.instance(name).parents)
    return tuple(instance.name for instance in headers.instances if instance.name in found)


class ParserWriter:
    """Writes the body of the parser of one pipeline; `place` is the line of what belongs to no header."""

    def __init__(self, pipeline: Pipeline, frame: Frame, hook: str, place: Span) -> None:
        self._place = place
        self._wanted = wanted_at(pipeline)
        self._headers = pipeline.headers
        self._frame = frame
        self._hook = hook
        self._parsed = parsed_headers(pipeline.headers, frame.needs.headers)
        self._shared = self._read_across_headers()

    def write(self) -> list[str]:
        """The lines between the parser's opening and its jump to the first block."""
        lines = ["u32 offset = 0, limit = pcnc_reach(ctx);"]
        if self._frame.bits:
            lines.append("u64 present = 0;")
        lines += [f"{c_type(self._type_bits(ref))} {_variable(ref)} = 0;" for ref in self._shared]
        metas = [f"frame->{member.name} = 0;" for member in self._frame.layout.members if member.name.startswith("meta_")]
        for start in range(0, len(metas), METAS_AT_ONCE):
            lines += [KEEPS_STORES_APART] if start else []
            lines += metas[start : start + METAS_AT_ONCE]
        for name in self._parsed:
            lines += ["", *self._header(self._headers.instance(name))]
        lines += ["", line_directive(self._place)]
        lines += ["done:"] if self._leaves_early() else []
        if self._frame.bits:
            lines.append("frame->present = present;")
        return lines

    def _leaves_early(self) -> bool:
        return len(self._parsed) > 1

    def _type_bits(self, ref: FieldRef) -> int:
        return self._headers.instance(ref.header).field(ref.name).type.bits

    def _children(self, instance: HeaderInstance) -> list[tuple[HeaderInstance, Expression | None]]:
        return [
            (child, parent.condition)
            for child in self._headers.children(instance.name)
            for parent in child.parents
            if parent.header == instance.name
        ]

    def _clauses(self, instance: HeaderInstance) -> list[Expression]:
        clauses = [instance.size, instance.verify, instance.extent]
        if any(child.name in self._parsed for child, _ in self._children(instance)):
            clauses += [instance.opaque, *(condition for _, condition in self._relevant_children(instance))]
        return [clause for clause in clauses if clause is not None]

    def _read_across_headers(self) -> tuple[FieldRef, ...]:
        """Fields that a later header asks about: they need variables that outlive their header's piece."""
        shared: dict[FieldRef, None] = {}
        for name in self._parsed:
            instance = self._headers.instance(name)
            for clause in self._clauses(instance):
                for ref in fields_read(clause):
                    if ref.header != name:
                        shared[ref] = None
        return tuple(shared)

    def _relevant_children(self, instance: HeaderInstance) -> list[tuple[HeaderInstance, Expression | None]]:
        """The children to ask about: those parsed, and those not parsed that would be taken before one that is."""
        children = self._children(instance)
        relevant = []
        for index, (child, condition) in enumerate(children):
            later = [other for follower, other in children[index + 1 :] if follower.name in self._parsed]
            if child.name in self._parsed or any(not _exclude(condition, other) for other in later):
                relevant.append((child, condition))
        return relevant

    def _header(self, instance: HeaderInstance) -> list[str]:
        root = instance.name == ROOT
        leave = end(MALFORMED) if root else "goto done;"
        lines = [source_comment(instance.span)] if not root else ["/* every frame begins with Ethernet */"]
        lines += [line_directive(self._place_of(instance))]
        lines += ["{"] if root else [f"{identifier(instance.name)}: {{"]
        body = self._locate(instance, leave)
        expressions = ExpressionWriter(_variable, lambda names: "1", {})
        used = {ref: None for clause in self._clauses(instance) for ref in fields_read(clause) if ref.header == instance.name}
        for ref in used:
            field = instance.field(ref.name)
            declare = "" if ref in self._shared else f"const {c_type(field.type.bits)} "
            body.append(f"{declare}{_variable(ref)} = {bare(self._value(ref, instance))};")
        size = str(instance.length)
        if instance.size is not None:
            size = "size"
            body.append(f"const u32 size = {expressions.write(instance.size)};")
            body += [f"if (size < {instance.length} || size > limit - offset)", f"\t{leave}"]
        if instance.verify is not None:
            body += [f"if (!{expressions.write(instance.verify)})", f"\t{leave}"]
        if instance.extent is not None:
            body.append(f"const u32 extent = {expressions.write(instance.extent)};")
            body += [f"if (extent < {size})", f"\t{leave}"]
        body += self._record(instance)
        children = self._relevant_children(instance)
        if any(child.name in self._parsed for child, _ in children):
            if instance.extent is not None:
                body += ["if (extent < limit - offset)", "\tlimit = offset + extent;"]
            if instance.opaque is not None:
                body += [f"if ({expressions.condition(instance.opaque)})", "\tgoto done;"]
            beside = self._may_lie_beside(instance)
            body.append(f"offset += beside ? 0 : {size};" if beside else f"offset += {size};")
            for child, condition in children:
                target = identifier(child.name) if child.name in self._parsed else "done"
                if condition is None:
                    body.append(f"goto {target};")
                    break
                body += [f"if ({expressions.condition(condition)})", f"\tgoto {target};"]
        if self._leaves_early() and not (body and body[-1].startswith("goto ")) and instance.name != self._parsed[-1]:
            body.append("goto done;")
        return [*lines, *("\t" + line for line in body), "}"]

    def _place_of(self, instance: HeaderInstance) -> Span:
        """The declaration where the user wrote it; of the prelude's headers the line that wants it."""
        if instance.span.source is self._place.source:
            return instance.span
        return self._wanted.get(instance.name, self._place)

    def _may_lie_beside(self, instance: HeaderInstance) -> bool:
        return self._hook == "tc" and instance.name == "vlan"

    def _locate(self, instance: HeaderInstance, leave: str) -> list[str]:
        """Makes `at` point to the header's bytes."""
        length = instance.length
        used = any(self._clauses(instance)) or any(ref.header == instance.name for ref in self._frame.needs.fields)
        if self._may_lie_beside(instance):
            return [
                "u8 copy[4] __attribute__((aligned(4))) = {}, *at = copy;",
                "const int beside = ctx->vlan_present;",
                "if (beside) {",
                "\tu8 *inner = pcnc_bytes(ctx, 12, 2);",
                "\tif (!inner)",
                f"\t\t{leave}",
                "\tpcnc_store16(copy, ctx->vlan_tci);",
                "\tpcnc_store16(copy + 2, pcnc_load16(inner));",
                "} else {",
                "\tu8 *tag = limit - offset < 4 ? 0 : pcnc_bytes(ctx, offset, 4);",
                "\tif (!tag)",
                f"\t\t{leave}",
                "\t*(u32 *)copy = *(u32 *)tag;",
                "}",
                *([] if used else ["(void)at;"]),
            ]
        if not used:
            return [f"if (limit - offset < {length})", f"\t{leave}"]
        return [f"u8 *at = limit - offset < {length} ? 0 : pcnc_bytes(ctx, offset, {length});", "if (!at)", f"\t{leave}"]

    def _value(self, ref: FieldRef, instance: HeaderInstance) -> str:
        read = read_field(instance.field(ref.name), "at")
        if self._hook == "tc" and ref == FieldRef(ROOT, "type"):
            return f"ctx->vlan_present ? __builtin_bswap16(ctx->vlan_proto) : {read}"
        return read

    def _record(self, instance: HeaderInstance) -> list[str]:
        """Notes for later blocks what they need of this header."""
        needs = self._frame.needs
        lines = []
        if instance.name in needs.presence:
            lines.append(f"present |= {present_bit(instance.name)};")
        if instance.name in needs.offsets:
            beside = "beside ? PCNC_BESIDE_THE_FRAME : " if self._may_lie_beside(instance) else ""
            lines.append(f"frame->{offset_member(instance.name)} = {beside}offset;")
        for field in instance.fields:
            ref = FieldRef(instance.name, field.name)
            if ref in needs.fields:
                lines.append(f"frame->{self._frame.slot(ref)} = {bare(self._value(ref, instance))};")
        return lines


def _variable(ref: FieldRef) -> str:
    return f"{identifier(ref.header)}_{ref.name}"


def _exclude(one: Expression | None, other: Expression | None) -> bool:
    """Whether two conditions can be seen never to hold together: both ask the same field for values that differ."""
    first, second = _values(one), _values(other)
    return first is not None and second is not None and first[0] == second[0] and not first[1] & second[1]


def _values(condition: Expression | None) -> tuple[FieldRef, frozenset[int]] | None:
    match condition:
        case Compare(operator="==", left=FieldRead(field=field), right=Constant(value=value)):
            return field, frozenset({value})
        case Membership(operand=FieldRead(field=field, type=type), patterns=patterns):
            values: set[int] = set()
            for pattern in patterns:
                match pattern:
                    case Interval(low=low, high=high) if low == high:
                        values.add(low)
                    case MaskedValue(value=value, mask=mask) if mask == type.maximum:
                        values.add(value)
                    case _:
                        return None
            return field, frozenset(values)
        case _:
            return None
