"""Expressions: every name bound, every operand in the type it is calculated in, constants folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import (
    ConfigRead,
    Constant,
    Expression,
    FieldRead,
    FieldRef,
    HeaderPresent,
    LocalRead,
    Logic,
    MetaRead,
    PacketLength,
)
from pcnc.resolve import operators
from pcnc.resolve.coercion import coerce, settle
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.intervals import Interval
from pcnc.resolve.membership import membership, property_names, property_of
from pcnc.resolve.pseudo_types import ADDRESS_TYPES, NUMBER, UNKNOWN, in_words, is_number, is_poison, poison
from pcnc.resolve.scope import (
    KINDS,
    LATER,
    VERDICTS,
    ActionName,
    BuiltInValue,
    ConfigName,
    ConstName,
    EitherName,
    Entity,
    EnumName,
    GoneLocal,
    HeaderName,
    LocalName,
    MetaName,
    OwnField,
    Scope,
    StageName,
    TableName,
)
from pcnc.source import Span
from pcnc.types import BOOL, BUILT_IN_TYPES, DURATION, Type, unsigned


@dataclass(frozen=True, slots=True)
class Against:
    """What stands on the other side: its type gives enum members their value, its field gives headers theirs."""

    type: Type
    field: FieldRef | None = None


@dataclass(slots=True)
class Expressions:
    """Resolves expressions. One for each body, as it knows the intervals of the body's locals."""

    table: FieldTable
    found: Diagnostics
    known: dict[str, Interval] = field(default_factory=dict)
    least_bits: int = 0
    """Arithmetic is done in at least this width: 32 in the clauses of a header (`ihl * 4`), else as wide as the operands."""
    hint: str = ""
    """Help for a name that is not known, where no other is like it."""
    counter: Callable[[syntax.Attribute, Scope], Expression] | None = None
    """Reads `sources[1].packets`; only an `expect` has it."""

    # ---- what others ask for

    def condition(self, written: syntax.Expression, scope: Scope) -> Expression:
        """A bool; poison, and a diagnostic, where it is none."""
        value = self.infer(written, scope, None)
        if is_poison(value) or value.type.format == "bool":
            return value
        text = written.span.text
        help = f"`{text} != 0` compares it" if is_number(value.type) and len(text) < 40 and "\n" not in text else ""
        self.found.add(problems.not_a_bool(in_words(value.type), written.span, help))
        return poison(written.span)

    def typed(self, written: syntax.Expression, scope: Scope, type: Type, field: FieldRef | None = None) -> Expression:
        """A value of `type`; `field` is the one it goes to, whose header constants may then be used."""
        value = self.infer(written, scope, Against(type, field))
        return coerce(value, type, self.known, self.found, written.span)

    def value(self, written: syntax.Expression, scope: Scope) -> Expression:
        """A value of whatever type it has."""
        return settle(self.infer(written, scope, None), self.found)

    def constant(
        self, written: syntax.Expression, scope: Scope, type: Type | None, what: str, field: FieldRef | None = None
    ) -> Constant | None:
        """A value that the compiler knows, of `type` (None: of its own, perhaps NUMBER); None where it is not one."""
        value = self.infer(written, scope, Against(type, field) if type else None)
        if is_poison(value):
            return None
        if not isinstance(value, Constant):
            self.found.add(problems.not_a_constant(what, written.span))
            return None
        fitting = coerce(value, type, self.known, self.found, written.span) if type else value
        return fitting if isinstance(fitting, Constant) and not is_poison(fitting) else None

    # ---- by kind of expression

    def infer(self, written: syntax.Expression, scope: Scope, against: Against | None) -> Expression:
        """The expression with a type of its own: NUMBER for literals that met none, UNKNOWN where a problem was told."""
        span = written.span
        match written:
            case syntax.Number(value):
                return Constant(value, NUMBER, span)
            case syntax.DurationLiteral(nanoseconds):
                return Constant(nanoseconds, DURATION, span)
            case syntax.AddressLiteral(kind, value):
                return Constant(value, ADDRESS_TYPES[kind], span)
            case syntax.Name():
                return self.name(written, scope, against)
            case syntax.Attribute():
                if self.counter is not None and isinstance(written.value, syntax.Index):
                    return self.counter(written, scope)
                return self.attribute(written, scope)
            case syntax.Call():
                return self.call(written, scope)
            case syntax.Unary():
                return self.unary(written, scope, against)
            case syntax.Binary():
                return self.binary(written, scope, against)
            case syntax.PrefixLiteral():
                return self._out_of_place("a prefix", span, "`x in 10.0.0.0/8` asks whether x lies in it")
            case syntax.Range():
                return self._out_of_place("a range", span, "`x in 80..90` asks whether x lies in it")
            case syntax.Masked():
                return self._out_of_place("a mask", span, "`x in 0x02 &&& 0x12` asks whether the masked bits are so")
            case syntax.Tuple():
                return self._out_of_place("a set", span, "`x in (1, 2)` asks whether x is one of them")
            case syntax.StringLiteral():
                return self._out_of_place("a string", span, "strings name tests")
            case syntax.Index():
                self.found.add(problems.not_in_this_version("reading by `[…]` outside a test's `expect`", span))
                return poison(span)
            case _:
                assert_never(written)

    def _out_of_place(self, what: str, span: Span, help: str) -> Expression:
        self.found.add(problems.literal_out_of_place(what, span, help))
        return poison(span)

    def unary(self, written: syntax.Unary, scope: Scope, against: Against | None) -> Expression:
        """`not x`, `-x`, `~x`."""
        if written.operator == "not":
            condition = self.condition(written.operand, scope)
            return condition if is_poison(condition) else operators.negated(condition, written.span)
        operand = self.infer(written.operand, scope, against)
        return operators.unary(written.operator, operand, self.found, written.span)

    def name(self, written: syntax.Name, scope: Scope, against: Against | None) -> Expression:
        """A bare name: by what it was declared as, or by the type of what it stands against."""
        name, span = written.text, written.span
        entity = scope.find(name)
        if against is not None and not isinstance(entity, LocalName):
            member = dict(against.type.members).get(name)
            if member is not None:
                return Constant(member, against.type, span)
        match entity:
            case None:
                return self._unknown(name, span, scope, against)
            case LocalName(unique, type, low, high):
                self.known[unique] = (low, high)
                return LocalRead(unique, type, span) if type is not UNKNOWN else poison(span)
            case GoneLocal():
                found = scope.find_with_span(name)
                self.found.add(problems.let_across_steps(name, span, found[1] if found else None))
                return poison(span)
            case MetaName(type):
                return MetaRead(name, type, span)
            case ConfigName(type):
                return ConfigRead(name, type, span)
            case ConstName(value):
                return Constant(value.value, value.type, span)
            case OwnField(read):
                return FieldRead(read.field, read.type, span)
            case HeaderName(instance):
                if against is not None and against.type.format != "bool":
                    return self._header_constant(name, span, against)
                return HeaderPresent((instance,), span)
            case EitherName(_, members):
                if against is not None and against.type.format != "bool":
                    return self._header_constant(name, span, against)
                return HeaderPresent(members, span)
            case _:
                return self._no_value(name, entity, span)

    def _unknown(self, name: str, span: Span, scope: Scope, against: Against | None) -> Expression:
        if name in ("true", "false"):
            return Constant(int(name == "true"), BOOL, span)
        if name in BUILT_IN_TYPES:
            self.found.add(problems.not_a_value(name, "type", span, f"`{name}(x)` converts x"))
        elif name in LATER:
            self.found.add(problems.not_in_this_version(f"`{name}`", span))
        else:
            members = (member for member, _ in against.type.members) if against else ()
            self.found.add(problems.unknown_name(name, span, (*members, *scope.values()), self.hint))
        return poison(span)

    def _no_value(self, name: str, entity: Entity, span: Span) -> Expression:
        if isinstance(entity, ActionName):
            kind = "a verdict" if name in VERDICTS else "an action"
            self.found.add(problems.verdict_in_expression(name, kind, span))
        else:
            help = f"`{name}.length` is its length in bytes" if isinstance(entity, BuiltInValue) else ""
            self.found.add(problems.not_a_value(name, KINDS[type(entity)], span, help))
        return poison(span)

    def _header_constant(self, name: str, span: Span, against: Against) -> Expression:
        values = self.table.constants.get(against.field, {}) if against.field else {}
        if name in values:
            return Constant(values[name], against.type, span)
        other = f"`{against.field}`" if against.field else f"`{against.type}`"
        self.found.add(problems.header_is_no_value(name, other, span, presence=True))
        return poison(span)

    def attribute(self, written: syntax.Attribute, scope: Scope) -> Expression:
        """`ipv4.src`, `vlan.inner`, `vlan.inner.id`, `eth.dst.is_multicast`, `packet.length`, `ct_state.new`."""
        if isinstance(written.value, syntax.Name):
            base = scope.find(written.value.text)
            match base:
                case EnumName(type):
                    return self._enum_member(written, type)
                case BuiltInValue():
                    if written.name.text == "length":
                        return PacketLength(unsigned(32), written.span)
                    self.found.add(problems.unknown_field("packet", written.name.text, written.name.span, ("length",)))
                    return poison(written.span)
                case TableName() | StageName() | ActionName():
                    return self._no_value(written.value.text, base, written.value.span)
                case None if written.value.text == "inner":
                    self.found.add(problems.not_in_this_version("`inner.…`", written.value.span))
                    return poison(written.span)
                case _:
                    pass
        header = self.header_name(written.value, scope)
        if header is not None:
            return self._member_of_header(header, written)
        value = self.infer(written.value, scope, None)
        if is_poison(value):
            return value
        made = property_of(value, written.name.text, written.span)
        if made is None:
            known = property_names(value.type)
            self.found.add(problems.unknown_field(written.value.span.text, written.name.text, written.name.span, known))
            return poison(written.span)
        return made

    def header_name(self, written: syntax.Expression, scope: Scope) -> str | None:
        """The instance or either that a name or `NAME.inner` stands for; None where it is something else."""
        if isinstance(written, syntax.Name):
            match scope.find(written.text):
                case HeaderName(instance):
                    return instance
                case EitherName(name, _):
                    return name
        if isinstance(written, syntax.Attribute) and written.name.text == "inner":
            outer = self.header_name(written.value, scope)
            return self.table.inner.get(outer) if outer else None
        return None

    def _member_of_header(self, header: str, written: syntax.Attribute) -> Expression:
        name, span = written.name.text, written.span
        if name == "inner" and header in self.table.inner:
            return HeaderPresent((self.table.inner[header],), span)
        type = self.table.fields.get(header, {}).get(name)
        if type is None:
            inner = ("inner",) if header in self.table.inner else ()
            known = (*self.table.fields.get(header, {}), *inner)
            self.found.add(problems.unknown_field(header, name, written.name.span, known))
            return poison(span)
        return FieldRead(FieldRef(header, name), type, span)

    def _enum_member(self, written: syntax.Attribute, type: Type) -> Expression:
        members = dict(type.members)
        if written.name.text not in members:
            self.found.add(problems.unknown_field(type.name, written.name.text, written.name.span, members))
            return poison(written.span)
        return Constant(members[written.name.text], type, written.span)

    def call(self, written: syntax.Call, scope: Scope) -> Expression:
        """A cast, the only call that has a value in this version."""
        span = written.span
        if not isinstance(written.function, syntax.Name):
            self.found.add(problems.not_in_this_version("calling a member", span))
            return poison(span)
        name = written.function.text
        entity = scope.find(name)
        type = entity.type if isinstance(entity, EnumName) else BUILT_IN_TYPES.get(name)
        if type is None:
            if entity is not None:
                return self._no_value(name, entity, written.function.span)
            if name in LATER:
                self.found.add(problems.not_in_this_version(f"`{name}(…)`", span))
            else:
                self.found.add(problems.unknown_name(name, written.function.span, (*scope.values(), *BUILT_IN_TYPES)))
            return poison(span)
        if len(written.arguments) != 1:
            self.found.add(problems.wrong_argument_count(name, "value", len(written.arguments), span))
            return poison(span)
        operand = self.infer(written.arguments[0], scope, Against(type) if type.format == "enum" else None)
        return operators.cast(operand, type, self.found, span)

    def binary(self, written: syntax.Binary, scope: Scope, against: Against | None) -> Expression:
        """Two operands: whichever has a type of its own gives the other its meaning."""
        span = written.span
        match written.operator:
            case "and" | "or":
                left, right = self.condition(written.left, scope), self.condition(written.right, scope)
                return poison(span) if is_poison(left) or is_poison(right) else Logic(written.operator, left, right, span)
            case "in":
                operand = settle(self.infer(written.left, scope, None), self.found)
                return membership(self, operand, written.right, scope, span)
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                left, right = self._operands(written, scope, None)
                return operators.comparison(written.operator, left, right, self.found, span)
            case _:
                left, right = self._operands(written, scope, against)
                return operators.arithmetic(written.operator, left, right, self.found, span, self.least_bits, self.known)

    def _operands(self, written: syntax.Binary, scope: Scope, around: Against | None) -> tuple[Expression, Expression]:
        if _waits(written.left, scope) and not _waits(written.right, scope):
            right = self.infer(written.right, scope, around)
            return self.infer(written.left, scope, against_value(right) or around), right
        left = self.infer(written.left, scope, around)
        if is_poison(left) and _waits(written.right, scope):
            return left, poison(written.right.span)
        return left, self.infer(written.right, scope, against_value(left) or around)


def against_value(value: Expression) -> Against | None:
    """What a value means to the operand on the other side."""
    if value.type is NUMBER or value.type is UNKNOWN:
        return None
    return Against(value.type, value.field if isinstance(value, FieldRead) else None)


def _waits(written: syntax.Expression, scope: Scope) -> bool:
    """Whether an operand's meaning depends on the other one: an enum's member, a header as a value, or made of such."""
    match written:
        case syntax.Name(name):
            return name not in ("true", "false") and isinstance(scope.find(name), HeaderName | EitherName | None)
        case syntax.Unary("-" | "~", operand):
            return _waits(operand, scope)
        case syntax.Binary(operator, left, right) if operator in ("+", "-", "&", "|", "^"):
            return all(_waits(side, scope) or isinstance(side, syntax.Number) for side in (left, right))
        case syntax.Number():
            return False
        case _:
            return False
