"""What is open while a source is read, and the parser's stacks to which reading can go back."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token, Tree
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParserState


@dataclass(frozen=True, slots=True)
class Stacks:
    """The parser's stacks at one moment. Lists among the values grow in place, so that their lengths are kept, too."""

    states: list[int]
    values: list[object]
    lengths: list[tuple[list[object], int]]

    @staticmethod
    def of(state: ParserState[int], base: int) -> Stacks:
        """The stacks now, in a body that began when `base` values lay there."""
        values: list[object] = state.value_stack.copy()
        # What lies below `base` does not grow while the body that begins there is open.
        lengths = [(v.children, len(v.children)) for v in values[base:] if isinstance(v, Tree)]
        return Stacks(state.state_stack.copy(), values, lengths)

    def restore(self, state: ParserState[int]) -> None:
        """Puts the parser back to that moment."""
        state.state_stack[:] = self.states
        state.value_stack[:] = self.values
        for children, length in self.lengths:
            del children[length:]


@dataclass(slots=True)
class Body:
    """What is open: the file, or a `{`."""

    kind: str
    """The terminal of the first word of the statement that it is the body of; empty for the file."""
    brace: Token | None
    head: Token | None
    depth: int
    """How many brackets are open inside it, its own `{` included."""
    base: int
    """How many values lay on the parser's stack when it began."""
    start: Stacks
    """The parser's stacks where the present statement begins."""
    first: Token | None = None
    """The first token of the present statement."""
    after_brace: Stacks | None = None
    """The parser's stacks behind the `}` with which the statement before ended, if it did."""


def takes(state: ParserState[int], stack: list[int], terminal: str) -> bool:
    """Whether a parser with this stack can take a terminal.

    That its table has an action for it is not enough: LALR merges states, and may find out only after reductions.
    """
    states = state.parse_conf.states
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
        if top == state.parse_conf.end_state:
            return True
        pushed.append(top)
