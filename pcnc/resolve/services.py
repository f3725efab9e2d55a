"""One service: its names, then its tables, actions, stages and chains, then what can be told only of all of them."""

from __future__ import annotations

from dataclasses import replace

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.headers import ResolvedHeaders
from pcnc.presence.analysis import Needs, Presence
from pcnc.program import Action, Chain, Service, Stage, Table, Verdict
from pcnc.resolve.bodies import Body, verdict_kind
from pcnc.resolve.chains import Chains
from pcnc.resolve.declarations import declare_constants, declare_state, declare_steps
from pcnc.resolve.flow import Flow, callees_first
from pcnc.resolve.pseudo_types import UNKNOWN
from pcnc.resolve.schemas import schema_of
from pcnc.resolve.scope import VERDICTS, ActionName, LocalName, Scope
from pcnc.resolve.tables import Tables
from pcnc.resolve.tests import Tests
from pcnc.rule_check import check_rules
from pcnc.rule_reader import read_rules
from pcnc.rules import Rule, TableSchema


def resolve_service(written: syntax.ServiceDeclaration, around: Scope, headers: ResolvedHeaders, found: Diagnostics) -> Service:
    """The service; what has a problem is told and left out."""
    scope = Scope(around)
    members = written.members
    constants = [m for m in members if isinstance(m, syntax.EnumDeclaration | syntax.ConstDeclaration)]
    declare_constants(constants, scope, found)
    metas, configs = declare_state(members, scope, found)
    declare_steps(members, scope, found)

    resolver = Tables(headers.headers, headers.table, scope, found)
    tables = {m.name.text: resolver.resolve(m) for m in members if isinstance(m, syntax.TableDeclaration)}
    actions = {action.name: action for action in _actions(written, scope, headers, found)}
    steps = Chains(headers.table, scope, found)
    declared_stages = [m for m in members if isinstance(m, syntax.Stage)]
    for stage in declared_stages:
        steps.add_stage(stage)
    chains = _chains(members, steps, found)
    if not any(isinstance(m, syntax.ChainDeclaration) for m in members):
        found.add(problems.no_chain(written.name.text, written.name.span))

    names = tuple(stage.name.text for stage in declared_stages)
    needs = _follow(chains, tables, actions, steps, names, headers, found)
    schemas = tuple(schema_of(table, scope, headers.table, actions, needs) for table in tables.values())
    rules = _rules(members, schemas, found)
    made = tuple(replace(table, rules=tuple(rules[table.name])) for table in tables.values())
    tests = Tests(headers, scope, schemas, {t.name: t for t in made}, chains, {c.name: c.type for c in configs}, found)
    return Service(
        written.name.text,
        made,
        tuple(actions.values()),
        tuple(steps.stages.values()),
        chains,
        metas,
        configs,
        tests.resolve_all(m for m in members if isinstance(m, syntax.TestDeclaration)),
        written.name.span,
        schemas,
    )


def _actions(written: syntax.ServiceDeclaration, scope: Scope, headers: ResolvedHeaders, found: Diagnostics) -> list[Action]:
    """The verdicts, then the actions of the service."""
    made = []
    for name in VERDICTS:
        verdict = verdict_kind(name)
        assert verdict is not None
        made.append(Action(name, (), (Verdict(verdict, written.name.span),), written.name.span))
    for member in written.members:
        if not isinstance(member, syntax.ActionDeclaration):
            continue
        entity = scope.find(member.name.text)
        if not isinstance(entity, ActionName) or entity.declaration is not member:
            continue
        inner = Scope(scope)
        body_resolver = Body(headers.table, found)
        for declared, parameter in zip(member.parameters, entity.parameters, strict=True):
            top = parameter.type.maximum if parameter.type is not UNKNOWN else 0
            local = LocalName(parameter.name, parameter.type, 0, top)
            inner.declare(declared.name, local, found)
            body_resolver.taken.add(parameter.name)
        made.append(Action(member.name.text, entity.parameters, body_resolver.block(member.body, inner), member.name.span))
    return made


def _chains(members: tuple[syntax.Member, ...], steps: Chains, found: Diagnostics) -> tuple[Chain, ...]:
    made: dict[str, Chain] = {}
    for member in members:
        if isinstance(member, syntax.ChainDeclaration):
            chain = steps.resolve(member)
            if chain is None:
                continue
            if chain.name in made:
                found.add(problems.duplicate_chain(chain.name, chain.span, made[chain.name].span))
            made.setdefault(chain.name, chain)
    return tuple(made.values())


def _follow(
    chains: tuple[Chain, ...],
    tables: dict[str, Table],
    actions: dict[str, Action],
    steps: Chains,
    declared_stages: tuple[str, ...],
    headers: ResolvedHeaders,
    found: Diagnostics,
) -> Needs:
    """Follows packets through everything, and gives what rules need so that their actions find their headers."""
    stages: dict[str, Stage] = steps.stages
    flow = Flow(tables, actions, stages, found)
    if not found.has_errors:
        # What an error left out is not unused.
        flow.report_unused(chains, declared_stages)
    order = callees_first(actions, found)
    if order is None or not flow.measure(order):
        return {}
    flow.report_unreachable(chains)
    flow.report_next(steps.between)
    if headers.worlds.is_cut:
        return {}
    presence = Presence(headers.worlds, tables, actions, stages, found)
    for chain in chains:
        presence.follow(chain)
    return presence.needs


def _rules(members: tuple[syntax.Member, ...], schemas: tuple[TableSchema, ...], found: Diagnostics) -> dict[str, list[Rule]]:
    """The file's rules of each table, in the order written."""
    by_name = {schema.name: schema for schema in schemas}
    made: dict[str, list[Rule]] = {schema.name: [] for schema in schemas}
    for member in members:
        if not isinstance(member, syntax.RulesDeclaration):
            continue
        schema = by_name.get(member.table.text)
        if schema is None:
            found.add(problems.unknown_table(member.table.text, member.table.span, by_name))
            continue
        rules, bad = read_rules(member.body.source, schema, start=member.body.start, end=member.body.end)
        made[schema.name].extend(rules)
        for problem in bad:
            found.add(problem)
    for schema in schemas:
        for problem in check_rules(made[schema.name], schema):
            found.add(problem)
    return made
