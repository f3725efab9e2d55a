"""Reads one source through the parser and mends its way past every problem, so that all of them are found at once.

Where the parser cannot take a token, the problem is told, the parser is put back to where the statement began, the rest of
the statement is passed over, and reading goes on: one problem a statement, and none that only follows from another.
"""

from __future__ import annotations

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_parser_state import ParserState

from pcnc import parse_problems as problems
from pcnc import syntax
from pcnc.build_syntax import MOST_DEPTH, BuildSyntax, EnoughProblems, TooDeep
from pcnc.diagnostics import Diagnostic
from pcnc.expected import LATER, advice, closest, expected, indentation, later, told
from pcnc.open_bodies import Body, Stacks, takes
from pcnc.source import Source, Span
from pcnc.tokens import MOST_TOKENS, BadText, Lexis, Tokens, TooManyTokens, UnclosedRules

# Prefix operators pile up on the parser's stack without any bracket.
_MOST_STACK = 16 * MOST_DEPTH


class ReadSyntax:
    """One reading of one source."""

    def __init__(self, source: Source, lark: Lark, builder: BuildSyntax, lexis: Lexis) -> None:
        self._source = source
        self._terminals = lark.terminals
        self._builder = builder
        self._words = lexis.words
        self._tokens = Tokens(source, lexis)
        self._state: ParserState[int] = lark.parse_interactive("").parser_state
        self._bodies = [Body("", None, None, 0, 0, Stacks.of(self._state, 0))]
        self._previous: Token | None = None
        # After a problem, until something has been read again: what goes wrong now only follows from it.
        self._quiet = False
        # Where the last problem was: what has been mended once is not mended again, so that reading gets on.
        self._mended = -1
        # A missing `}` was found by indentation: one that closes nothing may be the one that belongs there.
        self._guessed = False
        # A `{` was put in that is missing: the `}` of another body may have ended the one that it began.
        self._inserted = False
        self._suspect: Span | None = None

    def read(self) -> syntax.File | None:
        """The tree, None if there were problems; they are in the builder."""
        try:
            while True:
                try:
                    token = self._tokens.next(self._takes)
                except UnclosedRules as bad:
                    self._unclosed_rules(bad)
                    continue
                except BadText as bad:
                    self._bad_text(bad)
                    continue
                try:
                    tree = self._feed(token)
                except UnexpectedToken:
                    if self._unexpected(token):
                        return None
                    continue
                if token.type == "$END":
                    assert isinstance(tree, syntax.File)
                    return tree
        except TooDeep as deep:
            self._note(problems.nested_too_deeply(MOST_DEPTH, deep.span))
        except TooManyTokens as long:
            if not self._builder.found.found:
                span = Span(self._source, long.start, long.start + 1)
                self._note(problems.source_too_long(MOST_TOKENS, span))
        except EnoughProblems:
            pass
        return None

    # ---- the way without problems

    def _feed(self, token: Token) -> object:
        """Gives the parser a token, and keeps where bodies and statements begin."""
        body = self._bodies[-1]
        state = self._state
        kind = token.type
        if body.first is None and kind not in ("_NL", "RBRACE", "$END"):
            body.first = token
        tree: object = state.feed_token(token, kind == "$END")
        self._previous = token
        self._quiet = False
        if kind == "LBRACE":
            if len(self._tokens.opened) > MOST_DEPTH:
                raise TooDeep(self._at(token))
            owner = body.first.type if body.first is not None else ""
            base = len(state.value_stack)
            self._bodies.append(Body(owner, token, body.first, len(self._tokens.opened), base, Stacks.of(state, base)))
        elif kind == "RBRACE":
            self._compare_indentation(token)
            self._bodies.pop()
            self._begin_statement(closed=True)
        elif kind == "RULES_BODY":
            self._begin_statement(closed=True)
        elif kind == "_NL":
            self._begin_statement(closed=body.after_brace is not None and body.first is None)
        elif kind != "$END" and (len(state.state_stack) > _MOST_STACK or len(self._tokens.opened) > MOST_DEPTH):
            raise TooDeep(self._at(token))
        return tree

    def _begin_statement(self, closed: bool = False) -> None:
        body = self._bodies[-1]
        body.first = None
        body.start = Stacks.of(self._state, body.base)
        if not closed:
            body.after_brace = None
        elif self._previous is None or self._previous.type != "_NL":
            body.after_brace = body.start

    def _takes(self, terminal: str) -> bool:
        return takes(self._state, self._state.state_stack, terminal)

    def _at(self, token: Token) -> Span:
        start, end = token.start_pos, token.end_pos
        assert start is not None
        assert end is not None
        return Span(self._source, start, end)

    def _note(self, problem: Diagnostic) -> None:
        if not self._quiet:
            self._builder.note(problem)

    # ---- the way past a problem

    def _resume(self, position: int) -> None:
        """Goes on at a position as if the present statement had not begun."""
        body = self._bodies[-1]
        body.start.restore(self._state)
        body.first = None
        self._tokens.resume(position, [b.brace for b in self._bodies if b.brace is not None])
        self._quiet = True

    def _pass_over(self, token: Token) -> None:
        """Gives up the present statement, of which `token` is the last that was read."""
        opened = "".join(self._tokens.opened[self._bodies[-1].depth :])
        if token.type in ("_NL", "RBRACE"):
            self._give_up(self._at(token).start)
        else:
            self._give_up(self._tokens.end_of_statement(self._at(token).end, opened))

    def _give_up(self, end: int) -> None:
        """Goes on behind the present statement, which ends at `end`, or behind the body that would have belonged to it."""
        body = self._bodies[-1]
        first = body.first
        indent = 0 if body.brace is None else indentation(self._at(first)) if first is not None else -1
        if indent >= 0:
            head = body.head
            own_brace = head is None or indentation(self._at(head)) < indent
            end = self._tokens.behind_deeper_lines(end, indent, own_brace)
        self._resume(end)

    def _bad_text(self, bad: BadText) -> None:
        span = Span(self._source, bad.start, bad.end)
        character = self._source.text[bad.start]
        self._note(problems.unterminated_string(span) if character == '"' else problems.unexpected_character(character, span))
        self._give_up(self._tokens.end_of_statement(bad.end, "".join(self._tokens.opened[self._bodies[-1].depth :])))

    def _unclosed_rules(self, bad: UnclosedRules) -> None:
        text = self._source.text
        brace = Span(self._source, bad.start, bad.start + 1)
        if bad.end == len(text):
            self._note(problems.unclosed_brace(brace, self._end()))
            self._resume(bad.end)
            return
        line_start = text.rfind("\n", 0, bad.end) + 1
        words = text[line_start : bad.end].split()
        if text[bad.end] == '"':
            end = text.find("\n", bad.end)
            self._note(problems.unterminated_string(Span(self._source, bad.end, end if end >= 0 else len(text))))
        elif words and words[0] in self._words and line_start > bad.start:
            # What stands there begins like something else: the rules end before it.
            start = text.index(words[0], line_start)
            self._note(problems.unclosed_brace(brace, Span(self._source, start, start + len(words[0]))))
            self._guessed = True
            self._resume(line_start - 1)
            return
        else:
            self._note(problems.unexpected_token("`{`", ["a rule", "`}`"], Span(self._source, bad.end, bad.end + 1)))
        self._resume(self._tokens.end_of_statement(bad.start + 1, "{"))

    def _unexpected(self, token: Token) -> bool:
        """Tells of a token that the parser cannot take and gets past it; True if that is the end."""
        if token.type == "$END":
            self._end_too_early(token)
            return True
        start = self._at(token).start
        if self._quiet:
            self._follow(token)
        elif start <= self._mended or not self._mend(token):
            self._tell(token)
            self._pass_over(token)
        self._mended = max(self._mended, start)
        return False

    def _follow(self, token: Token) -> None:
        """Gets past what only follows from the problem before."""
        if token.type == "_NL":
            return
        if token.type != "RBRACE":
            self._pass_over(token)
            return
        # The body cannot end here, because what was passed over is missing in it: its owner is given up, too.
        if len(self._bodies) > 1:
            self._bodies.pop()
        self._resume(self._tokens.end_of_statement(self._at(token).end))

    def _end_too_early(self, token: Token) -> None:
        if self._tokens.opened and not self._inserted:
            opened = self._tokens.opened[-1]
            if opened == "{":
                self._note(problems.unclosed_brace(self._at(opened), self._end(), self._suspect))
            else:
                self._note(problems.unclosed_parenthesis(str(opened), self._at(opened), self._end()))
        elif not self._tokens.opened:
            self._note(problems.unexpected_token(told(token), self._expected(token), self._end()))

    def _end(self) -> Span:
        end = len(self._source.text.rstrip())
        return Span(self._source, end, end)

    def _tell(self, token: Token) -> None:
        body = self._bodies[-1]
        found = later(body.kind, body.first, self._previous, token)
        if found is not None:
            what, where = found
            self._note(problems.not_in_this_version(what, self._at(where)))
            return
        help = advice(self._previous, token, body.first, self._takes)
        self._note(problems.unexpected_token(told(token), self._expected(token), self._shown(token), help))

    def _shown(self, token: Token) -> Span:
        """A token's place; the end of a line is the place behind its last character."""
        span = self._at(token)
        if token.type != "_NL":
            return span
        if token.startswith(";"):
            return Span(self._source, span.start, span.start + 1)
        end = len(self._source.text[: span.start].rstrip("\r"))
        return Span(self._source, end, end)

    def _expected(self, token: Token) -> list[str]:
        first = self._bodies[-1].first
        return expected(self._terminals, self._takes, first is None or first is token)

    # ---- problems whose remedy is plain: reading goes on as if it had been applied

    def _mend(self, token: Token) -> bool:
        """Tells of a problem that has a name of its own, and goes on; False if it has none."""
        return (
            self._mend_parenthesis(token)
            or self._mend_brace(token)
            or self._mend_layout(token)
            or self._mend_unclosed_body(token)
            or self._mend_unopened_body(token)
            or self._mend_word(token)
        )

    def _mend_parenthesis(self, token: Token) -> bool:
        body = self._bodies[-1]
        if len(self._tokens.opened) <= body.depth or self._tokens.opened[-1] == "{" or self._previous is None:
            return False
        opened = self._tokens.opened[-1]
        before = self._at(self._previous)
        if token.type != "RBRACE" and not (
            self._at(token).line > before.line and self._takes("RSQB" if opened == "[" else "RPAR") and token.type != "_NL"
        ):
            return False
        self._note(problems.unclosed_parenthesis(str(opened), self._at(opened), self._at(token)))
        self._resume(before.end)
        return True

    def _mend_brace(self, token: Token) -> bool:
        if token.type != "RBRACE" or len(self._bodies) > 1:
            return False
        if not self._guessed:
            self._note(problems.unmatched_brace(self._at(token)))
        self._guessed = False
        self._resume(self._at(token).end)
        return True

    def _mend_layout(self, token: Token) -> bool:
        word = self._first_word(token)
        behind = self._bodies[-1].after_brace
        if (
            word is not None
            and word == "else"
            and word.type == "NAME"
            and behind is not None
            and takes(self._state, behind.states, "_ELSE")
        ):
            self._note(problems.misplaced_else(self._at(word)))
            self._resume(self._at(word).end)
            behind.restore(self._state)
            self._feed(self._corrected(word, "else"))
            return True
        if token.type == "_NL" and self._takes("LBRACE"):
            end = self._at(token).end
            if self._source.text.startswith("{", end):
                self._note(problems.misplaced_brace(Span(self._source, end, end + 1)))
                return True
        return False

    def _mend_unclosed_body(self, token: Token) -> bool:
        word = self._first_word(token)
        terminal = self._words.get(str(word)) if word is not None else None
        if word is None or terminal is None:
            return False
        span = self._at(word)
        indent = indentation(span)
        if span.column != indent + 1:
            return False
        for i in range(len(self._bodies) - 1, 0, -1):
            body = self._bodies[i]
            if body.head is None or body.brace is None or indentation(self._at(body.head)) < indent:
                return False
            if takes(self._state, self._bodies[i - 1].start.states, terminal):
                self._note(problems.unclosed_brace(self._at(body.brace), span))
                del self._bodies[i:]
                self._guessed = True
                self._resume(span.start)
                return True
        return False

    def _mend_unopened_body(self, token: Token) -> bool:
        """A body without its `{`: what follows on the line has none, either, or the next line is indented."""
        body = self._bodies[-1]
        previous = self._previous
        opens_rules = self._takes("RULES_BODY")
        if body.first is None or previous is None or token is body.first or not (opens_rules or self._takes("LBRACE")):
            return False
        start = self._at(token).start
        if token.type == "_NL":
            if self._tokens.next_indentation(start) <= indentation(self._at(body.first)):
                return False
        elif self._tokens.has_brace_ahead(start):
            return False
        self._note(problems.unexpected_token(told(token), ["`{`"], self._shown(token)))
        if opens_rules:
            self._resume(self._tokens.end_of_statement(start, "{"))
            return True
        self._inserted = True
        behind = self._at(previous).end
        brace = Token("LBRACE", "{", start_pos=behind, end_pos=behind)
        self._tokens.resume(start, [*self._tokens.opened[: body.depth], brace])
        self._feed(brace)
        return True

    def _mend_word(self, token: Token) -> bool:
        word = self._first_word(token)
        if word is not None and word.type == "NAME" and self._mend_first_word(word):
            return True
        if token.type != "NAME" or token is self._bodies[-1].first:
            return False
        meant = closest(str(token), [text for text, terminal in self._words.items() if self._takes(terminal)])
        if not meant:
            return False
        self._note(problems.misspelt_word(str(token), meant, self._at(token)))
        self._feed(self._corrected(token, meant))
        return True

    def _mend_first_word(self, word: Token) -> bool:
        states = self._bodies[-1].start.states
        meant = closest(str(word), [text for text, terminal in self._words.items() if takes(self._state, states, terminal)])
        if not meant or word in LATER:
            return False
        self._note(problems.misspelt_word(str(word), meant, self._at(word)))
        self._resume(self._at(word).end)
        self._feed(self._corrected(word, meant))
        return True

    def _first_word(self, token: Token) -> Token | None:
        """The statement's first word, if `token` is it or comes next: only then is it what is wrong."""
        first = self._bodies[-1].first
        return first if first is not None and (first is token or first is self._previous) else None

    def _corrected(self, word: Token, meant: str) -> Token:
        terminal = self._words[meant]
        self._tokens.previous = terminal
        return Token(terminal, meant, start_pos=word.start_pos, end_pos=word.end_pos)

    def _compare_indentation(self, token: Token) -> None:
        """Remembers the first body whose `}` begins a line that is indented differently than the body's head."""
        head = self._bodies[-1].head
        if self._suspect is not None or head is None or self._bodies[-1].brace is None:
            return
        span = self._at(token)
        indent = indentation(span)
        if span.column == indent + 1 and indentation(self._at(head)) != indent:
            self._suspect = self._at(self._bodies[-1].brace)
