"""From text to syntax tree: drives the parser token by token."""

from __future__ import annotations

import threading
from functools import lru_cache

from lark import Lark

from pcnc import syntax
from pcnc.build_syntax import BuildSyntax
from pcnc.diagnostics import CompileError
from pcnc.read_syntax import ReadSyntax
from pcnc.source import Source
from pcnc.tokens import Lexis

# The parser calls one builder, so that one source is read at a time.
_ONE_AT_A_TIME = threading.Lock()


@lru_cache(maxsize=1)
def _parser() -> tuple[Lark, BuildSyntax, Lexis]:
    from pcnc_grammar import load_parser

    builder = BuildSyntax()
    lark = load_parser(builder)
    return lark, builder, Lexis.of(lark.terminals)


def parse(source: Source) -> syntax.File:
    """The syntax tree of a source; an empty one gives `File(())`.

    Raises CompileError with every problem that could be found, up to 20, in the order in which they stand.
    """
    with _ONE_AT_A_TIME:
        lark, builder, lexis = _parser()
        builder.begin(source)
        try:
            tree = ReadSyntax(source, lark, builder, lexis).read()
        finally:
            found = builder.found.found
            builder.begin(Source("", ""))
    if tree is None or found:
        raise CompileError(tuple(sorted(found, key=lambda d: d.span.start if d.span is not None else 0)))
    return tree


@lru_cache(maxsize=1)
def parse_prelude() -> syntax.File:
    """The syntax tree of the prelude, from the user's cache where it is there."""
    from pcnc_grammar import load_prelude

    return load_prelude(syntax.File, parse)
