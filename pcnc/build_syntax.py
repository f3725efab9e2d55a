"""Makes the syntax tree: one method for each rule of the grammar, called by the parser as it reduces."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from lark import Token

from pcnc import parse_problems as problems
from pcnc import syntax
from pcnc.diagnostics import Diagnostic, Diagnostics
from pcnc.literals import parse_duration, parse_integer, parse_ipv4, parse_ipv6, parse_mac, parse_prefix, why_malformed
from pcnc.source import Source, Span

MOST_DEPTH = 128
"""How deep expressions and statements may stand in one another. Everything behind the parser walks the tree by recursion."""

MOST_PROBLEMS = 20

N = TypeVar("N", bound=syntax.Expression | syntax.Statement | syntax.Block)
Children = list[Any]


class TooDeep(Exception):
    """An expression or statement at `span` has too many others inside it."""

    def __init__(self, span: Span) -> None:
        super().__init__(span)
        self.span = span


class EnoughProblems(Exception):
    """So many problems were found that nobody would read more."""


class BuildSyntax:
    """Builds the tree of one source at a time: `begin` before, `found` afterwards has what was wrong inside tokens and clauses.

    Each method gets what its rule matched, without the terminals whose names begin with `_`, and raises TooDeep.
    """

    def __init__(self) -> None:
        self.begin(Source("", ""))

    def begin(self, source: Source) -> None:
        """Makes ready for a source."""
        self.source = source
        self.found = Diagnostics()
        # Depths by identity; the node is kept beside its depth so that no other can get its identity.
        self._depths: dict[int, tuple[int, object]] = {}

    def note(self, problem: Diagnostic) -> None:
        """Takes in one problem; raises EnoughProblems behind the last that is worth telling."""
        self.found.add(problem)
        if len(self.found.found) >= MOST_PROBLEMS:
            raise EnoughProblems

    # ---- places and depths

    def _at(self, token: Token) -> Span:
        start, end = token.start_pos, token.end_pos
        assert start is not None
        assert end is not None
        return Span(self.source, start, end)

    def _over(self, first: Any, last: Any) -> Span:
        start = self._at(first) if isinstance(first, Token) else first.span
        end = self._at(last) if isinstance(last, Token) else last.span
        return Span(self.source, start.start, end.end)

    def _depth(self, node: object) -> int:
        return self._depths.get(id(node), (0, None))[0]

    def _deepen(self, node: N, *inside: object) -> N:
        depth = 1 + max(map(self._depth, inside), default=0)
        if depth > MOST_DEPTH:
            raise TooDeep(node.span)
        self._depths[id(node)] = (depth, node)
        return node

    # ---- the file and its headers

    def start(self, children: Children) -> syntax.File:
        """The whole file."""
        return syntax.File(tuple(children), Span(self.source, 0, len(self.source.text)))

    def name(self, children: Children) -> syntax.Identifier:
        """A name that is declared or referred to."""
        return syntax.Identifier(str(children[0]), self._at(children[0]))

    field_name = name

    def type_name(self, children: Children) -> syntax.TypeName:
        """A type."""
        return syntax.TypeName(str(children[0]), self._at(children[0]))

    def depth(self, children: Children) -> syntax.Number:
        """How many of a header may follow one another."""
        return self.number(children[1:2])

    def sizes(self, children: Children) -> tuple[syntax.SizeCase, ...]:
        """The cases of a header's size."""
        return tuple(children[1:])

    def size_case(self, children: Children) -> syntax.SizeCase:
        """One of them."""
        value, condition = children if len(children) > 1 else (children[0], None)
        return syntax.SizeCase(value, condition, self._over(value, condition or value))

    def parents(self, children: Children) -> list[syntax.ParentDeclaration]:
        """What a header follows."""
        return children

    def parent(self, children: Children) -> syntax.ParentDeclaration:
        """One header that it follows."""
        header, condition = children if len(children) > 1 else (children[0], None)
        return syntax.ParentDeclaration(header, condition, self._over(header, condition or header))

    def field(self, children: Children) -> syntax.FieldDeclaration:
        """A header's field."""
        return syntax.FieldDeclaration(children[0], children[1], self._over(*children))

    def _with_word(self, children: Children) -> tuple[Token, Any]:
        # A clause is kept with its first word until the whole declaration is there.
        return children[0], children[-1]

    verify = extent = opaque = default = order = table_size = _with_word

    def checksum(self, children: Children) -> tuple[Token, syntax.ChecksumClause]:
        """Which checksum a field holds."""
        optional = isinstance(children[-1], Token)
        covers = tuple(children[2:-1] if optional else children[2:])
        return children[0], syntax.ChecksumClause(children[1], covers, optional, self._over(children[0], children[-1]))

    def header(self, children: Children) -> syntax.HeaderDeclaration:
        """A header."""
        name = children[1]
        depth, sizes, parents, fields = 1, (), [], []
        clauses = self._by_word([c for c in children[2:] if isinstance(c, tuple) and c and isinstance(c[0], Token)])
        for child in children[2:]:
            match child:
                case syntax.Number():
                    depth = child.value
                    if depth < 1:
                        self.note(problems.zero_depth(child.span))
                case list():
                    parents = child
                case syntax.FieldDeclaration():
                    fields.append(child)
                case (syntax.SizeCase(), *_):
                    sizes = child
                case _:
                    pass
        return syntax.HeaderDeclaration(
            name,
            depth,
            sizes,
            tuple(parents),
            tuple(fields),
            clauses.get("verify"),
            clauses.get("extent"),
            clauses.get("opaque"),
            clauses.get("checksum"),
            self._over(children[0], children[-1]),
        )

    def _by_word(self, clauses: Children) -> dict[str, Any]:
        first: dict[str, Token] = {}
        values: dict[str, Any] = {}
        for word, value in clauses:
            if word in first:
                self.note(problems.duplicate_clause(str(word), self._at(word), self._at(first[word])))
            else:
                first[str(word)], values[str(word)] = word, value
        return values

    def either(self, children: Children) -> syntax.EitherDeclaration:
        """A name for several headers."""
        return syntax.EitherDeclaration(children[1], tuple(children[3:-1]), self._over(children[0], children[-1]))

    def enum(self, children: Children) -> syntax.EnumDeclaration:
        """An enum."""
        return syntax.EnumDeclaration(children[1], children[2], tuple(children[4:-1]), self._over(children[0], children[-1]))

    def enum_member(self, children: Children) -> syntax.EnumMember:
        """One of its members."""
        value = children[2] if len(children) > 1 else None
        return syntax.EnumMember(children[0], value, self._over(children[0], children[-1]))

    # ---- services and their members

    def service(self, children: Children) -> syntax.ServiceDeclaration:
        """A service."""
        return syntax.ServiceDeclaration(children[1], tuple(children[3:-1]), self._over(children[0], children[-1]))

    def config(self, children: Children) -> syntax.ConfigDeclaration:
        """A setting."""
        value = children[4] if len(children) > 3 else None
        return syntax.ConfigDeclaration(children[1], children[2], value, self._over(children[0], children[-1]))

    def meta(self, children: Children) -> syntax.MetaDeclaration:
        """Per-packet state."""
        return syntax.MetaDeclaration(children[1], children[2], self._over(children[0], children[-1]))

    def const(self, children: Children) -> syntax.ConstDeclaration:
        """A constant."""
        declared = children[2] if isinstance(children[2], syntax.TypeName) else None
        return syntax.ConstDeclaration(children[1], declared, children[-1], self._over(children[0], children[-1]))

    def _with_words(self, children: Children) -> tuple[Token, tuple[Any, ...]]:
        return children[0], tuple(children[1:])

    columns = actions = count = _with_words

    def column(self, children: Children) -> syntax.Column:
        """What one column matches, and how."""
        return syntax.Column(children[0], children[1], self._over(*children))

    def table(self, children: Children) -> syntax.TableDeclaration:
        """A table."""
        clauses = self._by_word(children[3:-1])
        return syntax.TableDeclaration(
            children[1],
            clauses.get("match", ()),
            clauses.get("action", ()),
            clauses.get("default"),
            clauses.get("order"),
            clauses.get("size"),
            clauses.get("count", ()),
            self._over(children[0], children[-1]),
        )

    def rules(self, children: Children) -> syntax.RulesDeclaration:
        """A table's rules, unread."""
        body = self._at(children[2])
        return syntax.RulesDeclaration(
            children[1], Span(self.source, body.start + 1, body.end - 1), self._over(children[0], children[2])
        )

    def chain(self, children: Children) -> syntax.ChainDeclaration:
        """A chain."""
        return syntax.ChainDeclaration(children[1], children[2], self._over(children[0], children[2]))

    def action(self, children: Children) -> syntax.ActionDeclaration:
        """An action."""
        parameters = tuple(child for child in children if isinstance(child, syntax.Parameter))
        return syntax.ActionDeclaration(children[1], parameters, children[-1], self._over(children[0], children[-1]))

    def parameter(self, children: Children) -> syntax.Parameter:
        """One of its parameters."""
        return syntax.Parameter(children[0], children[1], self._over(*children))

    # ---- statements

    def block(self, children: Children) -> syntax.Block:
        """Statements between braces."""
        statements = tuple(children[1:-1])
        return self._deepen(syntax.Block(statements, self._over(children[0], children[-1])), *statements)

    def stage(self, children: Children) -> syntax.Stage:
        """A stage."""
        return self._deepen(syntax.Stage(children[1], children[2], self._over(children[0], children[2])), children[2])

    def if_(self, children: Children) -> syntax.If:
        """A choice; behind `else` stands a block or another choice, which becomes a block of its own."""
        otherwise = children[3] if len(children) > 3 else None
        if isinstance(otherwise, syntax.If):
            otherwise = self._deepen(syntax.Block((otherwise,), otherwise.span), otherwise)
        node = syntax.If(children[1], children[2], otherwise, self._over(children[0], children[-1]))
        return self._deepen(node, children[1], children[2], otherwise)

    def let(self, children: Children) -> syntax.Let:
        """A local name."""
        return self._deepen(syntax.Let(children[1], children[3], self._over(children[0], children[3])), children[3])

    def assign(self, children: Children) -> syntax.Assign:
        """An assignment."""
        operator: Any = str(children[1])[:-1]
        node = syntax.Assign(children[0], operator, children[2], self._over(children[0], children[2]))
        return self._deepen(node, children[0], children[2])

    def do(self, children: Children) -> syntax.Do:
        """An expression that is a statement."""
        return self._deepen(syntax.Do(children[0], children[0].span), children[0])

    # ---- expressions

    def binary(self, children: Children) -> syntax.Expression:
        """Operands with operators of one strength between them, the first two taken together first."""
        left: syntax.Expression = children[0]
        for i in range(1, len(children), 2):
            operator, right = children[i], children[i + 1]
            left = self._deepen(syntax.Binary(str(operator), left, right, self._over(left, right)), left, right)  # type: ignore[arg-type]  # the grammar lets no other operator pass
        return left

    or_ = and_ = bit_or = bit_xor = bit_and = shift = sum = product = binary

    def unary(self, children: Children) -> syntax.Unary:
        """An operator before its operand."""
        operator: Any = str(children[0])
        return self._deepen(syntax.Unary(operator, children[1], self._over(children[0], children[1])), children[1])

    def interval(self, children: Children) -> syntax.Range:
        """From one value to another."""
        return self._deepen(syntax.Range(children[0], children[1], self._over(*children)), *children)

    def masked(self, children: Children) -> syntax.Masked:
        """A value and which bits of it count."""
        return self._deepen(syntax.Masked(children[0], children[1], self._over(*children)), *children)

    def attribute(self, children: Children) -> syntax.Attribute:
        """A part of something."""
        return self._deepen(syntax.Attribute(children[0], children[1], self._over(*children)), children[0])

    def call(self, children: Children) -> syntax.Call:
        """A call."""
        arguments = tuple(children[2:-1])
        return self._deepen(syntax.Call(children[0], arguments, self._over(children[0], children[-1])), children[0], *arguments)

    def index(self, children: Children) -> syntax.Index:
        """An element."""
        node = syntax.Index(children[0], children[2], self._over(children[0], children[-1]))
        return self._deepen(node, children[0], children[2])

    def name_read(self, children: Children) -> syntax.Name:
        """A bare name."""
        return syntax.Name(str(children[0]), self._at(children[0]))

    def parenthesised(self, children: Children) -> syntax.Expression:
        """The expression itself; its place takes in the parentheses, so that a caret under a sum of it begins at the first."""
        inner: syntax.Expression = children[1]
        return self._deepen(dataclasses.replace(inner, span=self._over(children[0], children[2])), inner)

    def elements(self, children: Children) -> syntax.Tuple:
        """A set."""
        items = tuple(children[1:-1])
        return self._deepen(syntax.Tuple(items, self._over(children[0], children[-1])), *items)

    # ---- literals; what is wrong with one is noted, and something stands in for it

    def number(self, children: Children) -> syntax.Number:
        """An integer."""
        return syntax.Number(self._value(children[0], parse_integer, 0), self._at(children[0]))

    def duration(self, children: Children) -> syntax.DurationLiteral:
        """A length of time."""
        return syntax.DurationLiteral(self._value(children[0], parse_duration, 0), self._at(children[0]))

    def address(self, children: Children) -> syntax.AddressLiteral:
        """An address."""
        token = children[0]
        match token.type:
            case "MAC":
                return syntax.AddressLiteral("mac", self._value(token, parse_mac, 0), self._at(token))
            case "IPV6":
                return syntax.AddressLiteral("ipv6", self._value(token, parse_ipv6, 0), self._at(token))
            case _:
                return syntax.AddressLiteral("ipv4", self._value(token, parse_ipv4, 0), self._at(token))

    def prefix(self, children: Children) -> syntax.PrefixLiteral:
        """A prefix."""
        kind, value, length = self._value(children[0], parse_prefix, ("ipv4", 0, 0))
        return syntax.PrefixLiteral(kind, value, length, self._at(children[0]))

    def string(self, children: Children) -> syntax.StringLiteral:
        """A text."""
        return syntax.StringLiteral(str(children[0])[1:-1], self._at(children[0]))

    test_name = string

    def bad_literal(self, children: Children) -> syntax.Number:
        """What begins like a number and is none."""
        self.note(problems.malformed_literal(why_malformed(str(children[0])), self._at(children[0])))
        return syntax.Number(0, self._at(children[0]))

    def _value(self, token: Token, read: Any, otherwise: Any) -> Any:
        try:
            return read(str(token))
        except ValueError as error:
            self.note(problems.malformed_literal(str(error), self._at(token)))
            return otherwise

    # ---- tests

    def test(self, children: Children) -> syntax.TestDeclaration:
        """A test."""
        return syntax.TestDeclaration(children[1], tuple(children[3:-1]), self._over(children[0], children[-1]))

    def send(self, children: Children) -> syntax.Send:
        """A packet that is sent."""
        layers = tuple(child for child in children[2:] if isinstance(child, syntax.PacketLayer))
        return syntax.Send(children[1], layers, self._over(children[0], children[-1]))

    def layer(self, children: Children) -> syntax.PacketLayer:
        """One of its layers."""
        values = tuple(child for child in children[1:] if isinstance(child, syntax.KeywordArgument))
        arguments = tuple(child for child in children[1:] if not isinstance(child, Token | syntax.KeywordArgument))
        return syntax.PacketLayer(children[0], arguments, values, self._over(children[0], children[-1]))

    def keyword_argument(self, children: Children) -> syntax.KeywordArgument:
        """A field of a layer, and what it is to be."""
        return syntax.KeywordArgument(children[0], children[2], self._over(children[0], children[2]))

    def expect(self, children: Children) -> syntax.Expect:
        """What a packet is expected to have become."""
        return syntax.Expect(children[1], tuple(children[2:]), self._over(children[0], children[-1]))
