"""What the parser can take at a place, in the reader's words, and which words belong to the language of later versions."""

from __future__ import annotations

from collections.abc import Callable, Collection

from lark import Token
from lark.lexer import TerminalDef

from pcnc.source import Span

_VALUE = {"DURATION", "IPV4", "IPV6", "MAC", "PREFIX", "BAD_LITERAL", "MINUS", "TILDE", "NOT", "LPAR", "NAME", "INT", "STRING"}
_OPERATORS = {
    *("OR", "AND", "IN", "COMPARISON", "BAR", "CARET", "AMPERSAND", "SHIFT", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT"),
    *("_RANGE", "_MASK", "_DOT", "LPAR", "LSQB", "AUGMENTED"),
}
_IN_WORDS = {
    "NAME": "a name",
    "INT": "a number",
    "STRING": "a string",
    "_NL": "the end of the statement",
    "COMPARISON": "a comparison",
    "AUGMENTED": "an assignment",
    "SHIFT": "`<<`",
    "RULES_BODY": "`{`",
}
# Nobody needs to hear of these when something else is expected, too.
_BEHIND_A_NAME = {"_DOT", "LPAR", "LSQB"}

LATER = frozenset(
    {
        *("map", "delete", "update", "evict", "expire", "idle", "struct", "group", "meter", "counter", "event", "emit"),
        *("function", "return", "for", "module", "use", "import", "network", "link", "attach", "port", "ports"),
        *("push", "pop", "wait"),
    }
)


def expected(terminals: Collection[TerminalDef], takes: Callable[[str], bool], begins: bool) -> list[str]:
    """What the parser takes, in the reader's words, the likeliest first. `begins`: a statement begins here."""
    rest = {t.name for t in terminals if takes(t.name)}
    words: list[str] = []
    if {"NAME", "INT", "LPAR"} <= rest:
        words.append("a value")
        rest -= _VALUE
    elif len(rest & _OPERATORS) > 4:
        words.append("an operator")
        rest -= _OPERATORS | {"ASSIGN"}
    for seldom in ({"BAD_LITERAL"}, {"_NL"} if begins else {"RBRACE"} if "_NL" in rest else set(), _BEHIND_A_NAME):
        if words or rest - seldom:
            rest -= seldom
    if not rest and not words:
        words.append("the end of the file")
    signs = {t.name: f"`{t.pattern.value}`" for t in terminals}
    named = sorted(_IN_WORDS.get(name) or signs[name] for name in rest if name != "_NL")
    # What is told in words comes first, the end of the statement last.
    words += sorted(named, key=lambda word: word.startswith("`"))
    return [*words, "the end of the statement"] if "_NL" in rest else words


def told(token: Token) -> str:
    """What was found, in the reader's words."""
    match token.type:
        case "$END":
            return "the end of the file"
        case "_NL":
            return "`;`" if token.startswith(";") else "the end of the line"
        case "STRING":
            return "a string"
        case "RULES_BODY":
            return "`{`"
        case _:
            return f"`{token}`" if len(token) <= 40 else f"`{token[:37]}...`"


def later(kind: str, first: Token | None, previous: Token | None, token: Token) -> tuple[str, Token] | None:
    """What of a later version a statement uses, and where, if that is why it cannot be read.

    `kind` is the terminal that began what the statement stands in, `first` its first token, `previous` the one before `token`,
    which the parser cannot take.
    """
    if first is None:
        return None
    if first in LATER and (token is first or previous is first):
        return f"`{first}`", first
    if first.type == "LET" and token == "else":
        return "a `let` with `else`", token
    if first.type == "CHAIN" and token in ("*", "-", "<"):
        return "a chain between ports", token
    if kind == "HEADER" and token == "when":
        return "a field that is there only sometimes", token
    if token == "(" and previous is not None and previous.type == "_COLON":
        return "a tuple", token
    return None


def advice(previous: Token | None, token: Token, first: Token | None, takes: Callable[[str], bool]) -> str:
    """How to mend what people who know other languages write."""
    if token == "=" and takes("COMPARISON"):
        return "`==` compares"
    if token == "&" and previous == "&":
        return "write `and` where both conditions must hold"
    if token == "|" and previous == "|":
        return "write `or` where one of two conditions is enough"
    if token.type == "COMPARISON" and takes("AND"):
        return "comparisons do not chain: join two of them with `and`"
    if token == "not" and takes("IN"):
        return "`not` stands before the whole comparison: `not x in y`"
    if first in ("elif", "elsif", "elseif"):
        return "write `else if`, on the line of the `}` before it"
    if "else" in (token, first):
        return "`else` stands on the line of the `}` that ends its `if`"
    return ""


def closest(word: str, candidates: Collection[str]) -> str:
    """The one that was probably meant, or nothing."""
    import difflib

    if len(word) < 3 or len(word) > 20:
        return ""
    # A word with the next one glued to it is not misspelt.
    candidates = [c for c in candidates if not (word.startswith(c) and len(word) > len(c) + 1)]
    close = difflib.get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.7)
    return close[0] if close else ""


def indentation(span: Span) -> int:
    """How far the line on which a span begins is indented."""
    line = span.source.line_text(span.line)
    return len(line) - len(line.lstrip())
