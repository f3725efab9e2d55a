"""Enums, constants, settings, metas and the names of everything that a service has."""

from __future__ import annotations

from collections.abc import Iterable

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import Constant
from pcnc.program import Config, Meta
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.pseudo_types import NUMBER, UNKNOWN
from pcnc.resolve.scope import (
    VERDICTS,
    ActionName,
    BuiltInValue,
    ConfigName,
    ConstName,
    EnumName,
    MetaName,
    Scope,
    StageName,
    TableName,
)
from pcnc.rules import Parameter
from pcnc.types import Type


def declare_built_in(scope: Scope) -> None:
    """`packet` and the verdicts."""
    scope.set("packet", BuiltInValue())
    for verdict in VERDICTS:
        scope.set(verdict, ActionName((), None))


def declare_constants(
    written: Iterable[syntax.EnumDeclaration | syntax.ConstDeclaration], scope: Scope, found: Diagnostics
) -> None:
    """Enums and consts, in the order of declaration: each sees those before it."""
    for declaration in written:
        match declaration:
            case syntax.EnumDeclaration():
                scope.declare(declaration.name, EnumName(_enum(declaration, scope, found)), found)
            case syntax.ConstDeclaration():
                scope.declare(declaration.name, ConstName(_const(declaration, scope, found)), found)


def _const(written: syntax.ConstDeclaration, scope: Scope, found: Diagnostics) -> Constant:
    type = scope.type(written.type, found) if written.type else None
    unknown = Constant(0, UNKNOWN, written.span)
    if written.type and type is None:
        return unknown
    value = _expressions(found).constant(written.value, scope, type, f"the value of `{written.name.text}`")
    return value or unknown


def _expressions(found: Diagnostics) -> Expressions:
    return Expressions(FieldTable(), found, hint="a constant is made of literals and of constants declared above it")


def _enum(written: syntax.EnumDeclaration, scope: Scope, found: Diagnostics) -> Type:
    name = written.name.text
    base = scope.type(written.type, found)
    if base is not None and base.format != "decimal":
        found.add(problems.bad_enum(name, f"cannot be over `{base}`: its values are numbers", written.type.span))
        base = None
    members: dict[str, int] = {}
    following = 0
    for member in written.members:
        value = following
        if member.value is not None:
            what = f"the value of `{member.name.text}`"
            given = _expressions(found).constant(member.value, scope, base, what)
            value = given.value if given is not None and given.type not in (NUMBER, UNKNOWN) else following
        elif base is not None and value > base.maximum:
            found.add(problems.value_does_not_fit(value, base, member.name.span))
        if member.name.text in members:
            earlier = next(m.name.span for m in written.members if m.name.text == member.name.text)
            found.add(problems.duplicate_name(member.name.text, member.name.span, earlier))
        members.setdefault(member.name.text, value)
        following = value + 1
    return Type(name, base.bits if base else 64, "enum", tuple(members.items()))


def declare_state(
    members: Iterable[syntax.Member], scope: Scope, found: Diagnostics
) -> tuple[tuple[Meta, ...], tuple[Config, ...]]:
    """A service's metas and settings."""
    metas: list[Meta] = []
    configs: list[Config] = []
    for member in members:
        match member:
            case syntax.MetaDeclaration(name):
                type = scope.type(member.type, found)
                if scope.declare(name, MetaName(type or UNKNOWN), found) and type:
                    metas.append(Meta(name.text, type))
            case syntax.ConfigDeclaration(name):
                type = scope.type(member.type, found)
                value = 0
                if member.value is not None and type:
                    given = Expressions(FieldTable(), found).constant(member.value, scope, type, f"the value of `{name.text}`")
                    value = given.value if given else 0
                if scope.declare(name, ConfigName(type or UNKNOWN), found) and type:
                    configs.append(Config(name.text, type, value))
    return tuple(metas), tuple(configs)


def declare_steps(members: Iterable[syntax.Member], scope: Scope, found: Diagnostics) -> None:
    """The names of a service's tables, actions and stages, those declared inside its chains included."""
    for member in members:
        match member:
            case syntax.TableDeclaration(name):
                scope.declare(name, TableName(member), found)
            case syntax.ActionDeclaration(name):
                scope.declare(name, ActionName(_parameters(member, scope, found), member), found)
            case syntax.Stage(name):
                scope.declare(name, StageName(member, inline=False), found)
            case syntax.ChainDeclaration(_, body):
                _declare_inline_stages(body, scope, found)


def _parameters(written: syntax.ActionDeclaration, scope: Scope, found: Diagnostics) -> tuple[Parameter, ...]:
    made = []
    for parameter in written.parameters:
        type = scope.type(parameter.type, found)
        made.append(Parameter(parameter.name.text, type or UNKNOWN))
    return tuple(made)


def _declare_inline_stages(body: syntax.Block, scope: Scope, found: Diagnostics) -> None:
    for statement in body.statements:
        match statement:
            case syntax.Stage(name):
                scope.declare(name, StageName(statement, inline=True), found)
            case syntax.If(_, then, otherwise):
                _declare_inline_stages(then, scope, found)
                if otherwise:
                    _declare_inline_stages(otherwise, scope, found)
