"""What a file means: the resolved program, typed and with every name bound. No text, no tools, no kernel.

`resolve` makes it, `interpret` runs it, `graph` lowers it. Every value is an unsigned integer in host order; a bool is 0
or 1. Every expression knows its type. Spans lead back to the source and never take part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pcnc.expression import Expression, FieldRead, FieldRef, MetaRead
from pcnc.parse_graph import Headers
from pcnc.program_tests import Test
from pcnc.program_words import ChainName, VerdictKind
from pcnc.rules import MatchKind, Parameter, Rule, TableSchema
from pcnc.source import Source, Span, uncompared_span
from pcnc.types import Type

# ---- statements


@dataclass(frozen=True, slots=True)
class Let:
    """Binds a local; its name is unique inside the body."""

    name: str
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class AssignField:
    """Writes a header field and every checksum that covers it. The value has the field's type; its header is present."""

    field: FieldRef
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class AssignMeta:
    """Writes per-packet state."""

    name: str
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class If:
    """Runs one side."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`drop` and `pass` end the packet's way; `next` leaves the stage or table entered from the chain and goes on."""

    kind: VerdictKind
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class CallAction:
    """Runs an action's body here, with these arguments bound to its parameters."""

    action: str
    arguments: tuple[Expression, ...]
    span: Span = uncompared_span()


Statement = Let | AssignField | AssignMeta | If | Verdict | CallAction


# ---- members


@dataclass(frozen=True, slots=True)
class Action:
    """A body with typed parameters; `drop`, `next` and `pass` are actions of one Verdict."""

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Column:
    """What a table matches: `name` as written (`ipv4.src`), the value, and the headers of which one must be present for it.

    A meta has no headers: it is always there.
    """

    name: str
    kind: MatchKind
    value: FieldRead | MetaRead
    headers: tuple[str, ...]

    @property
    def type(self) -> Type:
        """The type of the value matched."""
        return self.value.type


@dataclass(frozen=True, slots=True)
class Table:
    """A match/action stage. `rules` are those of the file, in the order written; `actions` the names a rule may use.

    An absent field equals nothing but `*`. Unordered: the rule whose every column matches, the longest lpm first (where
    a `*` in the lpm column is shorter than /0). Ordered: the first matching rule. No rule: `default`.
    """

    name: str
    columns: tuple[Column, ...]
    actions: tuple[str, ...]
    default: CallAction
    ordered: bool
    size: int
    count_packets: bool
    count_bytes: bool
    rules: tuple[Rule, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Stage:
    """Statements under a name; at their end the packet goes on to the next step."""

    name: str
    body: tuple[Statement, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ApplyTable:
    """A step: look the packet up in a table."""

    table: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class RunStage:
    """A step: run a stage (looked up in Service.stages)."""

    stage: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Branch:
    """A step: one of two lists of steps."""

    condition: Expression
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]
    span: Span = uncompared_span()


Step = ApplyTable | RunStage | Branch


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps that packets of one direction take; at the end the packet goes on (`next`)."""

    name: ChainName
    steps: tuple[Step, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Meta:
    """Per-packet state, zero at the start of a chain."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Config:
    """A setting and the value it starts with."""

    name: str
    type: Type
    value: int


@dataclass(frozen=True, slots=True)
class Service:
    """A transparent service, all its names resolved. Tuples keep the order of declaration."""

    name: str
    tables: tuple[Table, ...]
    actions: tuple[Action, ...]
    """All actions that can be called, `drop`, `next` and `pass` included."""
    stages: tuple[Stage, ...]
    chains: tuple[Chain, ...]
    metas: tuple[Meta, ...]
    configs: tuple[Config, ...]
    tests: tuple[Test, ...]
    span: Span = uncompared_span()
    schemas: tuple[TableSchema, ...] = ()
    """The tables as rules see them, in the order of `tables`."""

    def table(self, name: str) -> Table:
        """The table of that name; KeyError if there is none."""
        for candidate in self.tables:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def action(self, name: str) -> Action:
        """The action of that name; KeyError if there is none."""
        for candidate in self.actions:
            if candidate.name == name:
                return candidate
        raise KeyError(name)

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError if there is none."""
        for candidate in self.stages:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Program:
    """A file's headers (the prelude's first) and services."""

    headers: Headers
    services: tuple[Service, ...]
    source: Source = field(compare=False, repr=False)
