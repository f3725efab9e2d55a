"""Statements: the bodies of stages and actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, assert_never

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import Expression, FieldRead, FieldRef, HeaderPresent, MetaRead
from pcnc.program import AssignField, AssignMeta, CallAction, If, Let, Statement, Verdict
from pcnc.program_words import VerdictKind
from pcnc.resolve import operators
from pcnc.resolve.coercion import coerce
from pcnc.resolve.expressions import Against, Expressions
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.intervals import interval_of
from pcnc.resolve.pseudo_types import UNKNOWN, is_poison
from pcnc.resolve.scope import (
    LATER,
    ActionName,
    BuiltInValue,
    ConfigName,
    ConstName,
    GoneLocal,
    LocalName,
    MetaName,
    Scope,
    StageName,
    TableName,
)
from pcnc.rules import Parameter
from pcnc.source import Span


def written_parameters(parameters: tuple[Parameter, ...]) -> str:
    """`port: u16, mark: u32`."""
    return ", ".join(f"{parameter.name}: {parameter.type}" for parameter in parameters)


@dataclass(slots=True)
class Body:
    """Resolves the statements of one stage or action; its lets get names that are unique in it."""

    table: FieldTable
    found: Diagnostics
    taken: set[str] = field(default_factory=set)
    expressions: Expressions = field(init=False)

    def __post_init__(self) -> None:
        self.expressions = Expressions(self.table, self.found)

    def block(self, written: syntax.Block, around: Scope) -> tuple[Statement, ...]:
        """The statements of a block, in a scope of their own."""
        return self.statements(written.statements, Scope(around))

    def statements(self, written: tuple[syntax.Statement, ...], scope: Scope) -> tuple[Statement, ...]:
        """Statements that share a scope; those with a problem are left out."""
        made = (self.statement(statement, scope) for statement in written)
        return tuple(statement for statement in made if statement is not None)

    def statement(self, written: syntax.Statement, scope: Scope) -> Statement | None:
        """One statement; None where a problem has been told."""
        match written:
            case syntax.Let():
                return self._let(written, scope)
            case syntax.Assign():
                return self._assign(written, scope)
            case syntax.Do(expression, span):
                return self._do(expression, scope, span)
            case syntax.If(condition, then, otherwise, span):
                asked = self.expressions.condition(condition, scope)
                yes = self.block(then, scope)
                no = self.block(otherwise, scope) if otherwise else ()
                return If(asked, yes, no, span)
            case syntax.Stage(name, _, span):
                self.found.add(problems.step_outside_chain("stage", name.text, name.span))
                return None
            case _:
                assert_never(written)

    def _let(self, written: syntax.Let, scope: Scope) -> Statement | None:
        value = self.expressions.value(written.value, scope)
        name = written.name.text
        unique, number = name, 2
        while unique in self.taken:
            unique, number = f"{name}_{number}", number + 1
        low, high = interval_of(value, self.expressions.known)
        if not scope.declare(written.name, LocalName(unique, value.type, low, high), self.found):
            return None
        self.taken.add(unique)
        return None if is_poison(value) else Let(unique, value, written.span)

    # ---- assignments

    def _assign(self, written: syntax.Assign, scope: Scope) -> Statement | None:
        target = self._target(written.target, scope)
        if target is None:
            # The value may have problems of its own.
            self.expressions.infer(written.value, scope, None)
            return None
        header_field = target.field if isinstance(target, FieldRead) else None
        value = self._new_value(written, target, header_field, scope)
        if is_poison(value):
            return None
        if isinstance(target, FieldRead):
            return AssignField(target.field, value, written.span)
        return AssignMeta(target.name, value, written.span)

    def _new_value(
        self, written: syntax.Assign, target: FieldRead | MetaRead, header_field: FieldRef | None, scope: Scope
    ) -> Expression:
        if not written.operator:
            return self.expressions.typed(written.value, scope, target.type, header_field)
        right = self.expressions.infer(written.value, scope, Against(target.type))
        known = self.expressions.known
        result = operators.arithmetic(written.operator, target, right, self.found, written.span, 0, known)
        return coerce(result, target.type, known, self.found, written.value.span)

    def _target(self, written: syntax.Expression, scope: Scope) -> FieldRead | MetaRead | None:
        if isinstance(written, syntax.Name):
            why = self._why_fixed(written.text, scope)
            if why is not None:
                self.found.add(problems.not_assignable(f"`{written.text}`", why[0], written.span, why[1]))
                return None
        target = self.expressions.infer(written, scope, None)
        match target:
            case FieldRead(field):
                if not self.table.assignable.get(field, True):
                    self._fixed(f"`{field}`", "it says how the packet is laid out, or holds a checksum", written.span)
                    return None
                return target
            case MetaRead():
                return target
            case HeaderPresent():
                self._fixed(f"`{written.span.text}`", "this is a header", written.span, "its fields can be assigned")
            case _ if not is_poison(target):
                self._fixed("this", "neither a field of a header nor a meta", written.span)
        return None

    def _why_fixed(self, name: str, scope: Scope) -> tuple[str, str] | None:
        """Why a name cannot be assigned and what can be done; None where it can, or is not known."""
        match scope.find(name):
            case ConstName():
                return "a constant does not change", ""
            case ConfigName():
                return "a setting is changed from outside", "a `meta` of the service can hold another value"
            case LocalName():
                return "a let or parameter does not change", "a `meta` of the service does"
            case BuiltInValue():
                return "a packet's properties do not change", ""
            case GoneLocal() | MetaName() | None:
                return None
            case TableName() | StageName() | ActionName():
                return "this is no value", ""
            case _:
                return None

    def _fixed(self, what: str, why: str, span: Span, help: str = "") -> None:
        self.found.add(problems.not_assignable(what, why, span, help))

    # ---- verdicts and actions

    def _do(self, written: syntax.Expression, scope: Scope, span: Span) -> Statement | None:
        callee, arguments = (written.function, written.arguments) if isinstance(written, syntax.Call) else (written, ())
        if not isinstance(callee, syntax.Name):
            self._no_statement(written, scope)
            return None
        name = callee.text
        match scope.find(name):
            case ActionName(parameters):
                values = call_arguments(self.expressions, name, parameters, arguments, scope, written.span)
                verdict = verdict_kind(name)
                if values is None:
                    return None
                return Verdict(verdict, span) if verdict else CallAction(name, values, span)
            case TableName():
                self.found.add(problems.step_outside_chain("table", name, callee.span))
            case StageName():
                self.found.add(problems.step_outside_chain("stage", name, callee.span))
            case None if name in LATER:
                self.found.add(problems.not_in_this_version(f"`{name}`", callee.span))
            case None:
                self.found.add(problems.unknown_action(name, callee.span, scope.of_kind(ActionName)))
            case _:
                self._no_statement(written, scope)
        return None

    def _no_statement(self, written: syntax.Expression, scope: Scope) -> None:
        value = self.expressions.infer(written, scope, None)
        if is_poison(value):
            return
        equality = isinstance(written, syntax.Binary) and written.operator == "=="
        help = "`=` assigns, `==` compares" if equality else "`let NAME = …` keeps a value"
        self.found.add(problems.not_a_statement(written.span, help))


def verdict_kind(name: str) -> VerdictKind | None:
    """The verdict of that name, if it is one."""
    verdicts: dict[str, Literal["drop", "next", "pass"]] = {"drop": "drop", "next": "next", "pass": "pass"}
    return verdicts.get(name)


def call_arguments(
    expressions: Expressions,
    name: str,
    parameters: tuple[Parameter, ...],
    arguments: tuple[syntax.Expression, ...],
    scope: Scope,
    span: Span,
) -> tuple[Expression, ...] | None:
    """The arguments of a call, each in its parameter's type; None where a problem has been told."""
    if len(parameters) != len(arguments):
        wanted = written_parameters(parameters)
        expressions.found.add(problems.wrong_argument_count(name, wanted, len(arguments), span))
        return None
    pairs = zip(arguments, parameters, strict=True)
    values = tuple(expressions.typed(argument, scope, parameter.type) for argument, parameter in pairs)
    unknown = any(is_poison(value) or value.type is UNKNOWN for value in values)
    return None if unknown else values
