"""Cuts a source into the tokens of the grammar: one compiled pattern, words decided by what the parser can take.

Lark's own contextual lexer compiles a pattern for each state that it passes through, which costs more than a whole parse;
this one is made of the same terminals of the grammar and compiles one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lark import Token
from lark.lexer import PatternStr, TerminalDef

from pcnc.source import Source

# After these a newline does not end the statement: a comma, `=` and whatever stands between two operands.
_CONTINUES = frozenset(
    {
        *("_COMMA", "ASSIGN", "AUGMENTED", "OR", "AND", "IN", "COMPARISON", "_RANGE", "_MASK"),
        *("BAR", "CARET", "AMPERSAND", "SHIFT", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT"),
    }
)
_IGNORED = ("COMMENT", "BLANK")
_OPENING = {"(": ")", "[": "]", "{": "}"}

# As RULES_BODY in the grammar, without its end.
_INSIDE_RULES = re.compile(r"\{(?:[^{}\"#]++|\"[^\"\n]*\"|#[^\n]*)*+")

# A newline, lines without anything, and the indentation of the first that has something.
_LINE = re.compile(r"\n(?:[ \t\r\f]*+(?:#[^\n]*)?\n)*+(?P<indent>[ \t]*+)(?=[^\s#])")
_AHEAD = re.compile(r"[^;\n]*")

MOST_TOKENS = 200_000
"""How many tokens are read of one source: some 25,000 lines. The rules of a table are one token, however many they are."""


class BadText(Exception):
    """No token can be cut here. `start` to `end` is what is passed over."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.start = start
        self.end = end


class UnclosedRules(BadText):
    """The `{` at `start` begins rules that do not end; at `end` stands what cannot be in rules, or the source ends."""


class TooManyTokens(Exception):
    """The source is longer than anything a person writes."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


@dataclass(frozen=True, slots=True)
class Lexis:
    """The terminals of the grammar, made ready for cutting."""

    pattern: re.Pattern[str]
    words: dict[str, str]
    rules: re.Pattern[str]

    @staticmethod
    def of(terminals: Iterable[TerminalDef]) -> Lexis:
        """Makes one pattern of all terminals but the words of the language and the body of rules."""
        words: dict[str, str] = {}
        others: list[TerminalDef] = []
        rules = ""
        for terminal in terminals:
            if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value.isidentifier():
                words[terminal.pattern.value] = terminal.name
            elif terminal.name == "RULES_BODY":
                rules = terminal.pattern.to_regexp()
            else:
                others.append(terminal)
        # Of signs the longer one first: `&&&` before `&`.
        others.sort(key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
        pattern = "|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in others)
        return Lexis(re.compile(pattern), words, re.compile(rules))


class Tokens:
    """Reads the tokens of one source, one at a time.

    `opened` are the brackets that are open, `previous` is the last token's terminal. A newline that ends no statement is
    passed over, and of several in a row the first is given.
    """

    def __init__(self, source: Source, lexis: Lexis) -> None:
        self.source = source
        self.position = 1 if source.text.startswith("\ufeff") else 0
        self.opened: list[Token] = []
        self.previous = "_NL"
        self.left = MOST_TOKENS
        self._lexis = lexis
        self._match = lexis.pattern.match

    def next(self, takes: Callable[[str], bool]) -> Token:
        """The next token, `$END` at the end. A word is a word of the language only if the parser `takes` its terminal.

        Raises BadText, UnclosedRules and TooManyTokens, having passed over what they tell of.
        """
        text = self.source.text
        position = self.position
        while True:
            match = self._match(text, position)
            if match is None:
                return self._no_token(position)
            terminal = match.lastgroup
            start, position = position, match.end()
            if terminal in _IGNORED:
                continue
            if terminal == "_NL":
                if self.previous == "_NL" or (
                    (self.previous in _CONTINUES or (self.opened and self.opened[-1] != "{")) and ";" not in _signs(match.group())
                ):
                    continue
            elif terminal == "NAME":
                word = self._lexis.words.get(match.group())
                if word is not None and takes(word):
                    terminal = word
            elif terminal == "LBRACE" and self.previous == "NAME" and takes("RULES_BODY"):
                return self._rules_body(start)
            break
        self.position = position
        assert terminal is not None
        return self._token(terminal, match.group(), start, position)

    def _token(self, terminal: str, value: str, start: int, end: int) -> Token:
        if self.left <= 0:
            raise TooManyTokens(start)
        self.left -= 1
        token = Token(terminal, value, start_pos=start, end_pos=end)
        self.previous = terminal
        if value in _OPENING:
            self.opened.append(token)
        elif value in (")", "]", "}") and self.opened and _OPENING[self.opened[-1]] == value:
            self.opened.pop()
        return token

    def _rules_body(self, start: int) -> Token:
        text = self.source.text
        match = self._lexis.rules.match(text, start)
        if match is not None:
            self.position = match.end()
            return self._token("RULES_BODY", match.group(), start, match.end())
        inside = _INSIDE_RULES.match(text, start)
        assert inside is not None
        self.previous = "BAD"
        raise UnclosedRules(start, inside.end())

    def _no_token(self, position: int) -> Token:
        text = self.source.text
        if position >= len(text):
            self.position = len(text)
            return Token("$END", "", start_pos=position, end_pos=position)
        self.position = self._behind_bad(position)
        self.previous = "BAD"
        raise BadText(position, self.position)

    def _behind_bad(self, position: int) -> int:
        text = self.source.text
        if text[position] != '"':
            return position + 1
        end = text.find("\n", position)
        return len(text) if end < 0 else end

    def resume(self, position: int, opened: list[Token]) -> None:
        """Goes on at a position with these brackets open."""
        self.position = position
        self.opened = opened
        self.previous = "BAD"

    def end_of_statement(self, position: int, opened: str = "") -> int:
        """Where the statement ends that `position` is in, with these brackets open: at a newline, a `;`, a `}` or the end.

        A parenthesis that is not closed before the body ends is taken to be forgotten on its line. Raises TooManyTokens.
        """
        text = self.source.text
        stack = list(opened)
        newline = -1
        previous = "BAD"
        while True:
            match = self._match(text, position)
            if self.left <= 0:
                raise TooManyTokens(position)
            self.left -= 1
            if match is None:
                if position >= len(text):
                    return newline if newline >= 0 else position
                position = self._behind_bad(position)
                continue
            sign = match.group()
            if match.lastgroup == "_NL":
                ends = previous not in _CONTINUES or ";" in _signs(sign)
                if not stack and ends:
                    return match.start()
                if newline < 0 and ends and "{" not in stack:
                    newline = match.start()
            elif sign == "}":
                torn = False
                while stack and stack[-1] != "{":
                    torn = bool(stack.pop())
                if torn and newline >= 0:
                    return newline
                if not stack:
                    return match.start()
                stack.pop()
                newline = -1
            elif sign in _OPENING:
                stack.append(sign)
            elif stack and _OPENING[stack[-1]] == sign:
                stack.pop()
            if match.lastgroup not in _IGNORED:
                previous = match.lastgroup or ""
            position = match.end()

    def behind_deeper_lines(self, end: int, indent: int, own_brace: bool) -> int:
        """Where the lines end that follow `end` and are indented more: they are the body of something whose head was lost.

        With `own_brace` a `}` behind them that is indented by `indent` belongs to that body, too.
        """
        text = self.source.text
        deeper = False
        while (line := _LINE.match(text, end)) is not None:
            first, depth = line.end(), line.end() - line.start("indent")
            if depth <= indent:
                return first + 1 if deeper and own_brace and depth == indent and text[first] == "}" else end
            deeper = True
            end = self.end_of_statement(first)
            while end < len(text) and text[end] == ";":
                end = self.end_of_statement(end + 1)
        return end

    def next_indentation(self, position: int) -> int:
        """How far the first line behind a newline at `position` is indented that is neither empty nor a comment; -1 if none is."""
        line = _LINE.match(self.source.text, position)
        return -1 if line is None else line.end() - line.start("indent")

    def has_brace_ahead(self, position: int) -> bool:
        """Whether a `{` follows before the line or statement ends."""
        ahead = _AHEAD.match(self.source.text, position)
        return ahead is not None and "{" in ahead.group()


def _signs(gap: str) -> str:
    # The newlines and semicolons between two statements, without the comments among them.
    return gap if "#" not in gap else re.sub(r"#[^\n]*", "", gap)
