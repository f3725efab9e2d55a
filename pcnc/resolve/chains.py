"""Chains: tables, stages and branches as steps; the statements between them as stages without a name of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.program import ApplyTable, Branch, Chain, RunStage, Stage, Step
from pcnc.program_words import ChainName
from pcnc.resolve.bodies import Body
from pcnc.resolve.expressions import Expressions
from pcnc.resolve.field_table import FieldTable
from pcnc.resolve.scope import LATER, ActionName, GoneLocal, LocalName, Scope, StageName, TableName
from pcnc.source import Span

CHAINS: tuple[ChainName, ...] = ("ingress", "egress")


@dataclass(slots=True)
class Chains:
    """Resolves the chains and stages of one service. `stages` grows; `between` names those made of bare statements."""

    table: FieldTable
    scope: Scope
    found: Diagnostics
    stages: dict[str, Stage] = field(default_factory=dict)
    between: set[str] = field(default_factory=set)

    def resolve(self, written: syntax.ChainDeclaration) -> Chain | None:
        """The chain; None where it has no possible name."""
        steps = self._steps(written.body, self.scope)
        name = next((name for name in CHAINS if name == written.name.text), None)
        if name is None:
            self.found.add(problems.unknown_chain(written.name.text, written.name.span, CHAINS))
            return None
        return Chain(name, steps, written.name.span)

    def add_stage(self, written: syntax.Stage) -> None:
        """A stage of the service, or one declared where it stands in a chain."""
        body = Body(self.table, self.found).block(written.body, self.scope)
        self.stages.setdefault(written.name.text, Stage(written.name.text, body, written.name.span))

    def _steps(self, block: syntax.Block, around: Scope) -> tuple[Step, ...]:
        scope = Scope(around)
        steps: list[Step] = []
        waiting: list[syntax.Statement] = []
        for statement in block.statements:
            if not self._is_step(statement, scope):
                waiting.append(statement)
                continue
            self._end_of_statements(waiting, scope, steps)
            step = self._step(statement, scope)
            if step is not None:
                steps.append(step)
        self._end_of_statements(waiting, scope, steps)
        return tuple(steps)

    def _is_step(self, statement: syntax.Statement, scope: Scope) -> bool:
        match statement:
            case syntax.Stage():
                return True
            case syntax.Do(syntax.Name(name)) | syntax.Do(syntax.Call(syntax.Name(name))):
                return isinstance(scope.find(name), TableName | StageName)
            case syntax.If(_, then, otherwise):
                inside = (*then.statements, *(otherwise.statements if otherwise else ()))
                return any(self._is_step(inner, scope) for inner in inside)
            case _:
                return False

    def _step(self, statement: syntax.Statement, scope: Scope) -> Step | None:
        match statement:
            case syntax.Stage(name, _, span):
                self.add_stage(statement)
                return RunStage(name.text, span)
            case syntax.If(condition, then, otherwise, span):
                asked = Expressions(self.table, self.found).condition(condition, scope)
                return Branch(asked, self._steps(then, scope), self._steps(otherwise, scope) if otherwise else (), span)
            case syntax.Do(syntax.Call(syntax.Name(name), arguments), span):
                self.found.add(problems.wrong_argument_count(name, "", len(arguments), span))
                return None
            case syntax.Do(syntax.Name(name), span):
                match scope.find(name):
                    case TableName():
                        return ApplyTable(name, span)
                    case StageName(_, inline=False):
                        return RunStage(name, span)
                known = (n for n, e in scope.all() if isinstance(e, TableName) or (isinstance(e, StageName) and not e.inline))
                help = f"`{name}` is declared inside a chain; a stage that stands in several places is declared in the service"
                self.found.add(problems.unknown_step(name, span, known, help))
        return None

    def _end_of_statements(self, waiting: list[syntax.Statement], scope: Scope, steps: list[Step]) -> None:
        """Makes a stage of the statements that wait; what they declared is gone behind it."""
        if not waiting:
            return
        inner = Scope(scope)
        statements = tuple(waiting)
        waiting.clear()
        known_actions = self._without_unknown_names(statements, scope)
        body = Body(self.table, self.found).statements(known_actions, inner)
        for name, (entity, span) in inner.names.items():
            if isinstance(entity, LocalName):
                scope.set(name, GoneLocal(), span)
        if body:
            name = self._free_name()
            place = statements[0].span.to(statements[-1].span)
            self.stages[name] = Stage(name, body, place)
            self.between.add(name)
            steps.append(RunStage(name, place))

    def _without_unknown_names(self, statements: tuple[syntax.Statement, ...], scope: Scope) -> tuple[syntax.Statement, ...]:
        """A bare name that nothing stands behind may have been meant as a table or stage: told here, not as an action."""
        kept: list[syntax.Statement] = []
        for statement in statements:
            match statement:
                case syntax.Do(syntax.Name(name, span)) if scope.find(name) is None and name not in LATER:
                    self._unknown_step(name, span, scope)
                case _:
                    kept.append(statement)
        return tuple(kept)

    def _unknown_step(self, name: str, span: Span, scope: Scope) -> None:
        known = (n for n, e in scope.all() if isinstance(e, TableName | StageName | ActionName))
        self.found.add(problems.unknown_step(name, span, known))

    def _free_name(self) -> str:
        number = 1
        while self.scope.find(f"statements_{number}") is not None or f"statements_{number}" in self.stages:
            number += 1
        return f"statements_{number}"
