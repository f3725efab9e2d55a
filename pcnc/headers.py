"""From header declarations to the parse graph: layouts, stacks as instances, clauses bound to instances."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.eithers import resolve_either
from pcnc.expression import Conditional, Expression, FieldRead, FieldRef, Logic
from pcnc.expression_walk import fields_read, headers_asked
from pcnc.parse_graph import Checksum, Field, HeaderInstance, Headers, Parent
from pcnc.presence.worlds import Worlds
from pcnc.resolve.coercion import coerce
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.pseudo_types import is_number, is_poison
from pcnc.resolve.scope import RESERVED_FOR_HEADERS, EitherName, HeaderName, OwnField, Scope
from pcnc.source import Span
from pcnc.types import unsigned

MOST_DEPTH = 16
MOST_PATHS = 10_000
"""Ways through the parse graph; the prelude has a few hundred."""

_SIZE = unsigned(32)
_COVERS = ("header", "payload", "pseudo")


@dataclass(frozen=True, slots=True)
class ResolvedHeaders:
    """The parse graph, what expressions must know of it, and which headers a packet can hold at once."""

    headers: Headers
    table: FieldTable
    worlds: Worlds


def resolve_headers(
    declarations: list[syntax.HeaderDeclaration], eithers: list[syntax.EitherDeclaration], scope: Scope, found: Diagnostics
) -> ResolvedHeaders:
    """All headers, in order of declaration (the prelude's first), each after its parents; their names go into `scope`."""
    taken = []
    for declaration in declarations:
        name = declaration.name
        if name.text in RESERVED_FOR_HEADERS:
            found.add(problems.reserved_name(name.text, name.span))
        elif scope.declare(name, HeaderName(name.text), found):
            taken.append(declaration)
    builder = _Builder({d.name.text: d for d in taken}, scope, found)
    for declaration in taken:
        builder.lay_out(declaration)
    for declaration in builder.in_order(taken):
        builder.add(declaration)
    instances = builder.with_assignability()
    headers = Headers(instances, ())
    worlds = Worlds(headers, MOST_PATHS)
    if worlds.is_cut:
        found.add(problems.too_many_header_paths(MOST_PATHS, taken[-1].span if taken else None))
    resolved = []
    for written in eithers:
        either = resolve_either(written, headers, worlds, found)
        if either is not None and scope.declare(written.name, EitherName(either.name, either.members), found):
            resolved.append(either)
            builder.table.add_either(either)
            worlds.add_either(either)
    return ResolvedHeaders(Headers(instances, tuple(resolved)), builder.table, worlds)


@dataclass(frozen=True, slots=True)
class _Layout:
    fields: tuple[Field, ...]
    length: int


class _Builder:
    def __init__(self, declarations: dict[str, syntax.HeaderDeclaration], scope: Scope, found: Diagnostics) -> None:
        self.declarations = declarations
        self.scope = scope
        self.found = found
        self.table = FieldTable()
        self.layouts: dict[str, _Layout] = {}
        self.instances: dict[str, list[HeaderInstance]] = {}
        self.choosing: set[tuple[str, str]] = set()
        self.root: str | None = None

    # ---- layout

    def lay_out(self, written: syntax.HeaderDeclaration) -> None:
        name = written.name.text
        fields: dict[str, tuple[Field, Span]] = {}
        offset = 0
        sound = True
        for declared in written.fields:
            type = self.scope.type(declared.type, self.found)
            if type is None or type.format == "duration":
                if type is not None:
                    self.found.add(problems.bad_field_type(declared.name.text, type.name, declared.type.span))
                sound = False
                continue
            label = declared.name.text
            if label in fields:
                self.found.add(problems.duplicate_name(label, declared.name.span, fields[label][1]))
            elif label != "_":
                fields[label] = Field(label, offset, type), declared.name.span
            offset += type.bits
        if sound and (offset % 8 or not offset):
            self.found.add(problems.header_not_whole_bytes(name, offset, written.name.span))
        self.layouts[name] = _Layout(tuple(field for field, _ in fields.values()), offset // 8)
        for instance in _instance_names(name, self._depth(written)):
            self.table.fields[instance] = {field.name: field.type for field, _ in fields.values()}
        if written.depth > 1:
            self.table.inner[name] = f"{name}.inner"

    def _depth(self, written: syntax.HeaderDeclaration) -> int:
        follows_itself = any(parent.header.text == written.name.text for parent in written.parents)
        if written.depth > MOST_DEPTH:
            reason = f"and {MOST_DEPTH} is the most"
        elif written.depth > 1 and not follows_itself:
            reason = "and does not follow itself"
        elif written.depth == 1 and follows_itself:
            reason = "and follows itself"
        else:
            return written.depth
        self.found.add(problems.bad_stack(written.name.text, written.depth, reason, written.name.span))
        return 1

    # ---- order

    def in_order(self, written: list[syntax.HeaderDeclaration]) -> list[syntax.HeaderDeclaration]:
        """Parents first, else as declared; says so where headers follow one another in a circle."""
        done: dict[str, bool] = {}
        order: list[syntax.HeaderDeclaration] = []
        for first in written:
            if first.name.text in done:
                continue
            done[first.name.text] = False
            way: list[syntax.ParentDeclaration] = []
            waiting = [(first, iter(first.parents))]
            while waiting:
                declaration, parents = waiting[-1]
                parent = next(parents, None)
                if parent is None:
                    waiting.pop()
                    way = way[: len(waiting) - 1] if waiting else []
                    done[declaration.name.text] = True
                    order.append(declaration)
                    continue
                target = self.declarations.get(parent.header.text)
                if target is None or target is declaration:
                    continue
                if target.name.text not in done:
                    done[target.name.text] = False
                    way.append(parent)
                    waiting.append((target, iter(target.parents)))
                elif not done[target.name.text]:
                    self._report_cycle([*way, parent])
        return order

    def _report_cycle(self, way: list[syntax.ParentDeclaration]) -> None:
        last = way[-1].header.text
        parents = [parent.header.text for parent in way]
        start = parents.index(last) + 1 if last in parents[:-1] else 0
        circle = way[start:]
        names = [last, *(parent.header.text for parent in circle[:-1])]
        self.found.add(problems.header_cycle(names, [parent.header.span for parent in circle]))

    # ---- instances

    def add(self, written: syntax.HeaderDeclaration) -> None:
        name = written.name.text
        layout = self.layouts[name]
        self.instances[name] = []
        if not written.parents:
            if self.root is not None:
                self.found.add(problems.header_without_parent(name, self.root, written.name.span))
                return
            self.root = name
        for index, instance_name in enumerate(_instance_names(name, self._depth(written))):
            parents = self._parents(written, index)
            scope = self._own_scope(written, instance_name, parents)
            instance = HeaderInstance(
                instance_name,
                name,
                index,
                layout.fields,
                layout.length,
                size=self._size(written, scope, instance_name, parents),
                verify=self._clause(written.verify, "`verify`", scope, instance_name, parents),
                extent=self._number(written.extent, "`extent`", scope, instance_name, parents),
                opaque=self._clause(written.opaque, "`opaque`", scope, instance_name, parents),
                parents=parents,
                checksum=self._checksum(written, layout),
                span=written.span,
            )
            self.instances[name].append(instance)
            self.table.add_constants(instance)

    def _parents(self, written: syntax.HeaderDeclaration, index: int) -> tuple[Parent, ...]:
        """An instance but the first follows the one before it only; the first follows every instance of other headers."""
        own = written.name.text
        parents: dict[str, Expression | None] = {}
        for declared in written.parents:
            name = declared.header.text
            if (name == own) != (index > 0):
                continue
            if name not in self.declarations:
                self.found.add(problems.unknown_name(name, declared.header.span, self.declarations))
                continue
            candidates = self.instances.get(name, [])
            for parent in candidates[index - 1 : index] if name == own else candidates:
                condition = self._parent_condition(declared, parent.name)
                if parent.name in parents:
                    condition = _either_of(parents[parent.name], condition, declared.span)
                parents[parent.name] = condition
        return tuple(Parent(header, condition) for header, condition in parents.items())

    def _parent_condition(self, declared: syntax.ParentDeclaration, parent: str) -> Expression | None:
        if declared.condition is None:
            return None
        scope = Scope(self.scope)
        scope.set(declared.header.text, HeaderName(parent))
        scope.set("previous", HeaderName(parent))
        expressions = Expressions(self.table, self.found, least_bits=_SIZE.bits)
        condition = expressions.condition(declared.condition, scope)
        if is_poison(condition):
            return None
        self._check_reads(condition, (parent,), "what a header follows", f"`{declared.header.text}`", declared.condition.span)
        return condition

    def _own_scope(self, written: syntax.HeaderDeclaration, instance: str, parents: tuple[Parent, ...]) -> Scope:
        scope = Scope(self.scope)
        for field in self.layouts[written.name.text].fields:
            scope.set(field.name, OwnField(FieldRead(FieldRef(instance, field.name), field.type, written.span)))
        scope.set(written.name.text, HeaderName(instance))
        if len(parents) == 1:
            scope.set("previous", HeaderName(parents[0].header))
        return scope

    # ---- clauses

    def _clause(
        self, written: syntax.Expression | None, clause: str, scope: Scope, instance: str, parents: tuple[Parent, ...]
    ) -> Expression | None:
        """A condition over the header's own fields and, where there is one, the header before it."""
        if written is None or not self._previous_is_one(written, scope, instance, parents):
            return None
        expression = Expressions(self.table, self.found, least_bits=_SIZE.bits).condition(written, scope)
        return self._checked(expression, clause, instance, parents, written.span)

    def _number(
        self, written: syntax.Expression | None, clause: str, scope: Scope, instance: str, parents: tuple[Parent, ...]
    ) -> Expression | None:
        """A number of bytes, as u32."""
        if written is None or not self._previous_is_one(written, scope, instance, parents):
            return None
        expression = Expressions(self.table, self.found, least_bits=_SIZE.bits).infer(written, scope, None)
        if not is_poison(expression) and (not is_number(expression.type) or expression.type.bits <= _SIZE.bits):
            expression = coerce(expression, _SIZE, {}, self.found, written.span)
        elif not is_poison(expression):
            self.found.add(problems.narrowing(expression.type, _SIZE, written.span, written.span.text))
            return None
        return self._checked(expression, clause, instance, parents, written.span)

    def _size(
        self, written: syntax.HeaderDeclaration, scope: Scope, instance: str, parents: tuple[Parent, ...]
    ) -> Expression | None:
        cases = written.size
        if not cases:
            return None
        if cases[-1].condition is not None:
            self.found.add(problems.bad_size_clause(written.name.text, "says nothing for the rest", cases[-1].span))
            return None
        size = self._number(cases[-1].value, "`size`", scope, instance, parents)
        for case in reversed(cases[:-1]):
            if case.condition is None:
                self.found.add(problems.bad_size_clause(written.name.text, "has a case that is always taken", case.span))
                return None
            condition = self._clause(case.condition, "`size`", scope, instance, parents)
            value = self._number(case.value, "`size`", scope, instance, parents)
            if size is None or condition is None or value is None:
                return None
            size = Conditional(condition, value, size, _SIZE, case.span)
        return size

    def _previous_is_one(self, written: syntax.Expression, scope: Scope, instance: str, parents: tuple[Parent, ...]) -> bool:
        place = _previous_in(written)
        if place is None or scope.find("previous") is not None:
            return True
        self.found.add(problems.previous_is_ambiguous(instance, [parent.header for parent in parents], place))
        return False

    def _checked(
        self, expression: Expression, clause: str, instance: str, parents: tuple[Parent, ...], span: Span
    ) -> Expression | None:
        if is_poison(expression):
            return None
        allowed = (instance, parents[0].header) if len(parents) == 1 else (instance,)
        before = " and of the header before it" if len(parents) == 1 else ""
        self._check_reads(expression, allowed, clause, f"fields of `{instance}`{before}", span)
        return expression

    def _check_reads(self, expression: Expression, allowed: tuple[str, ...], clause: str, told: str, span: Span) -> None:
        reads = fields_read(expression)
        if any(read.header not in allowed for read in reads) or headers_asked(expression):
            self.found.add(problems.clause_reads_elsewhere(clause, told, span))
        for read in reads:
            self.choosing.add((read.header.split(".")[0], read.name))

    def _checksum(self, written: syntax.HeaderDeclaration, layout: _Layout) -> Checksum | None:
        clause = written.checksum
        if clause is None:
            return None
        declared = next((field for field in layout.fields if field.name == clause.field.text), None)
        words = [word.text for word in clause.covers]
        if declared is None:
            known = (field.name for field in layout.fields)
            self.found.add(problems.unknown_field(written.name.text, clause.field.text, clause.field.span, known))
        elif declared.type.bits != 16 or declared.offset % 16:
            self.found.add(problems.bad_checksum_clause("a checksum lies in an even 16 bits", clause.field.span))
        for place, word in enumerate(clause.covers):
            if word.text not in _COVERS:
                self.found.add(problems.bad_checksum_clause(f"a checksum does not cover `{word.text}`", word.span))
            elif word.text in words[:place]:
                self.found.add(problems.given_twice(word.text, word.span))
        self.choosing.add((written.name.text, clause.field.text))
        return Checksum(clause.field.text, "header" in words, "payload" in words, "pseudo" in words, clause.optional)

    def with_assignability(self) -> tuple[HeaderInstance, ...]:
        """All instances, their fields marked by what was seen to choose the layout (or to hold a checksum)."""
        made = []
        for instances in self.instances.values():
            for instance in instances:
                fields = tuple(
                    replace(field, assignable=(instance.header, field.name) not in self.choosing) for field in instance.fields
                )
                made.append(replace(instance, fields=fields))
                for field in fields:
                    self.table.assignable[FieldRef(instance.name, field.name)] = field.assignable
        return tuple(made)


def _instance_names(name: str, depth: int) -> list[str]:
    return [name, f"{name}.inner", *(f"{name}.{index}" for index in range(2, depth))][:depth]


def _either_of(first: Expression | None, second: Expression | None, span: Span) -> Expression | None:
    return None if first is None or second is None else Logic("or", first, second, span)


def _previous_in(written: syntax.Expression) -> Span | None:
    """Where an expression says `previous`."""
    match written:
        case syntax.Name("previous", span):
            return span
        case syntax.Attribute(value) | syntax.Unary(_, value):
            return _previous_in(value)
        case syntax.Binary(_, left, right) | syntax.Range(left, right) | syntax.Masked(left, right):
            return _previous_in(left) or _previous_in(right)
        case syntax.Call(_, items) | syntax.Tuple(items):
            return next((place for item in items if (place := _previous_in(item))), None)
        case _:
            return None
