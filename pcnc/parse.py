"""From text to syntax tree: drives the parser token by token."""

from __future__ import annotations

from functools import lru_cache, partial

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParserState

from pcnc import syntax
from pcnc.build_syntax import BuildSyntax
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.source import Source, Span
from pcnc.tokens import Lexis, Tokens


@lru_cache(maxsize=1)
def _parser() -> tuple[Lark, BuildSyntax, Lexis]:
    from pcnc_grammar import load_parser

    builder = BuildSyntax()
    lark = load_parser(builder)
    return lark, builder, Lexis.of(lark.terminals)


def parse(source: Source) -> syntax.File:
    """The syntax tree of a source. Raises CompileError."""
    lark, builder, lexis = _parser()
    builder.begin(source)
    state = lark.parse_interactive("").parser_state
    tokens = Tokens(source, lexis)
    takes = partial(_takes, state)
    while True:
        token = tokens.next(takes)
        try:
            result = state.feed_token(token, token.type == "$END")
        except UnexpectedToken as e:
            raise CompileError(
                (
                    Diagnostic(
                        "unexpected-token", f"unexpected {token!r} {e}", Span(source, token.start_pos or 0, token.end_pos or 0)
                    ),
                )
            ) from None
        if token.type == "$END":
            builder.found.raise_if_errors()
            assert isinstance(result, syntax.File)
            return result


@lru_cache(maxsize=1)
def parse_prelude() -> syntax.File:
    """The syntax tree of the prelude, from the user's cache where it is there."""
    from pcnc_grammar import load_prelude

    return load_prelude(syntax.File, parse)


def _takes(state: ParserState[int], terminal: str) -> bool:
    """Whether the parser can take a terminal now.

    That its table has an action for it is not enough: LALR merges states, and may find out only after reductions.
    """
    states = state.parse_conf.states
    stack = state.state_stack
    top, size = stack[-1], len(stack)
    pushed: list[int] = []
    while True:
        found = states[top].get(terminal)
        if found is None:
            return False
        action, argument = found
        if action is Shift:
            return True
        count = len(argument.expansion)
        taken = min(count, len(pushed))
        del pushed[len(pushed) - taken :]
        size -= count - taken
        below = pushed[-1] if pushed else stack[size - 1]
        top = states[below][argument.origin.name][1]
        pushed.append(top)
