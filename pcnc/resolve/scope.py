"""What a name stands for, and where it does: entities and nested scopes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics
from pcnc.expression import Constant, FieldRead
from pcnc.rules import Parameter
from pcnc.source import Span
from pcnc.types import BUILT_IN_TYPES, Type

VERDICTS = ("drop", "next", "pass")
RESERVED = frozenset((*VERDICTS, "packet", "true", "false", "inner", *BUILT_IN_TYPES))
RESERVED_FOR_HEADERS = frozenset(("payload", "bytes", "truncate", "previous"))
"""Names that no header can have: layers of a test's packet that are none, and a clause's word for the header before."""
# fmt: off
LATER = frozenset((
    "flood", "forward", "punt", "reject", "hash", "random", "now", "fib", "emit", "push", "pop", "map", "group", "meter",
    "counter", "event", "module", "use", "function", "struct", "insert", "delete", "update", "port", "ports", "inner",
    "gre", "vxlan", "geneve",
))
# fmt: on
"""Names of the language page that this version does not have."""


@dataclass(frozen=True, slots=True)
class HeaderName:
    """A header, by its first instance, or an alias of one instance (`previous`)."""

    instance: str


@dataclass(frozen=True, slots=True)
class EitherName:
    """`l4`: its members are instances."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnField:
    """A bare field name inside its own header's clauses."""

    read: FieldRead


@dataclass(frozen=True, slots=True)
class ConstName:
    """A const, folded."""

    value: Constant


@dataclass(frozen=True, slots=True)
class ConfigName:
    """A setting."""

    type: Type


@dataclass(frozen=True, slots=True)
class MetaName:
    """Per-packet state."""

    type: Type


@dataclass(frozen=True, slots=True)
class LocalName:
    """A let or a parameter: its unique name in the body, and the interval its value is known to lie in."""

    unique: str
    type: Type
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class GoneLocal:
    """A let of a chain behind the step that ended its life."""


@dataclass(frozen=True, slots=True)
class EnumName:
    """An enum."""

    type: Type


@dataclass(frozen=True, slots=True)
class TableName:
    """A table."""

    declaration: syntax.TableDeclaration


@dataclass(frozen=True, slots=True)
class ActionName:
    """An action, or with no declaration a verdict, which is one without parameters."""

    parameters: tuple[Parameter, ...]
    declaration: syntax.ActionDeclaration | None


@dataclass(frozen=True, slots=True)
class StageName:
    """A stage; one that is declared inside a chain can be used only there."""

    declaration: syntax.Stage
    inline: bool


@dataclass(frozen=True, slots=True)
class BuiltInValue:
    """`packet`."""


Entity = (
    HeaderName
    | EitherName
    | OwnField
    | ConstName
    | ConfigName
    | MetaName
    | LocalName
    | GoneLocal
    | EnumName
    | TableName
    | ActionName
    | StageName
    | BuiltInValue
)

KINDS: dict[type, str] = {
    HeaderName: "header",
    EitherName: "either",
    OwnField: "field",
    ConstName: "constant",
    ConfigName: "setting",
    MetaName: "meta",
    LocalName: "let or parameter",
    GoneLocal: "let",
    EnumName: "enum",
    TableName: "table",
    ActionName: "action",
    StageName: "stage",
    BuiltInValue: "built-in name",
}
"""What each kind of entity is called in a message."""

_VALUES = (HeaderName, EitherName, OwnField, ConstName, ConfigName, MetaName, LocalName, BuiltInValue)


@dataclass(slots=True)
class Scope:
    """Names and what they stand for; a name not found here is looked for around it."""

    around: Scope | None = None
    names: dict[str, tuple[Entity, Span | None]] = field(default_factory=dict)

    def find(self, name: str) -> Entity | None:
        """What a name stands for, or None."""
        found = self.find_with_span(name)
        return found[0] if found else None

    def find_with_span(self, name: str) -> tuple[Entity, Span | None] | None:
        """What a name stands for and where it was declared (None: it is built in)."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.around
        return None

    def set(self, name: str, entity: Entity, span: Span | None = None) -> None:
        """Binds a name, whatever it stood for."""
        self.names[name] = (entity, span)

    def declare(self, identifier: syntax.Identifier, entity: Entity, found: Diagnostics) -> bool:
        """Binds a name that must be free here and all around; says so, and keeps the earlier meaning, where it is not."""
        if identifier.text in RESERVED:
            found.add(problems.reserved_name(identifier.text, identifier.span))
            return False
        earlier = self.find_with_span(identifier.text)
        if earlier is not None and not isinstance(earlier[0], GoneLocal):
            found.add(problems.duplicate_name(identifier.text, identifier.span, earlier[1]))
            return False
        self.set(identifier.text, entity, identifier.span)
        return True

    def all(self) -> Iterator[tuple[str, Entity]]:
        """Every name that can be seen from here, the nearest first."""
        scope: Scope | None = self
        while scope is not None:
            for name, (entity, _) in scope.names.items():
                yield name, entity
            scope = scope.around

    def values(self) -> Iterator[str]:
        """The names that can stand as an operand."""
        return (name for name, entity in self.all() if isinstance(entity, _VALUES))

    def of_kind(self, *kinds: type) -> Iterator[str]:
        """The names of certain kinds of entities."""
        return (name for name, entity in self.all() if isinstance(entity, kinds))

    def types(self) -> dict[str, Type]:
        """All types that can be named here: those built in and the enums."""
        return {**BUILT_IN_TYPES, **{name: entity.type for name, entity in self.all() if isinstance(entity, EnumName)}}

    def type(self, name: syntax.TypeName, found: Diagnostics) -> Type | None:
        """The type of that name; says so where there is none."""
        if name.text in BUILT_IN_TYPES:
            return BUILT_IN_TYPES[name.text]
        entity = self.find(name.text)
        if isinstance(entity, EnumName):
            return entity.type
        if name.text == "port":
            found.add(problems.not_in_this_version("the type `port`", name.span))
        else:
            found.add(problems.unknown_type(name.text, name.span, self.types()))
        return None
