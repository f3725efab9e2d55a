"""The wording of problems with statements, chains and the way a packet takes through them."""

from __future__ import annotations

from collections.abc import Sequence

from pcnc.diagnostics import Diagnostic, Note, Severity
from pcnc.source import Span

__all__ = [
    "calls_too_deep",
    "header_may_be_absent",
    "header_never_present",
    "let_across_steps",
    "next_in_chain",
    "not_a_statement",
    "not_assignable",
    "pipeline_too_long",
    "recursion",
    "step_outside_chain",
    "too_many_statements",
    "unreachable_code",
]


def not_assignable(what: str, why: str, span: Span, help: str = "") -> Diagnostic:
    """An assignment to something that does not change, or whose change would change the layout of the packet."""
    return Diagnostic("not-assignable", f"{what} cannot be assigned", span, label=why, help=help)


def not_a_statement(span: Span, help: str) -> Diagnostic:
    """An expression whose value nobody takes."""
    return Diagnostic("not-a-statement", "this does nothing", span, help=help)


def step_outside_chain(kind: str, name: str, span: Span) -> Diagnostic:
    """A table or stage inside a stage or action."""
    return Diagnostic(
        "step-outside-chain",
        f"{kind} `{name}` is applied outside a chain",
        span,
        help=f"{kind}s are steps: they stand in a chain, or in an `if` of a chain",
    )


def too_many_statements(kind: str, name: str, count: int, limit: int, span: Span) -> Diagnostic:
    """A stage or action that is too long when the actions it calls are put in their places."""
    return Diagnostic(
        "too-many-statements",
        f"{kind} `{name}` comes to {count:,} statements with all that it calls, and {limit:,} is the most",
        span,
        help="actions are put in the place of each call; a table runs one of several in one place",
    )


def calls_too_deep(kind: str, name: str, depth: int, limit: int, span: Span) -> Diagnostic:
    """A stage or action whose statements lie too deep inside one another when actions are put in the place of their calls."""
    return Diagnostic(
        "calls-too-deep",
        f"{kind} `{name}` is nested {depth} deep with all that it calls, and {limit} is the most",
        span,
    )


def next_in_chain(name: str, span: Span) -> Diagnostic:
    """`next` where no stage or table has been entered. `name` is the action that runs it, or `next` itself."""
    message = "`next` has no stage to leave" if name == "next" else f"`{name}` may run `next`, which has no stage to leave"
    return Diagnostic("next-in-chain", message, span, help="put the statements into `stage NAME { … }`")


def let_across_steps(name: str, span: Span, declared: Span | None) -> Diagnostic:
    """A `let` of a chain read behind a table or stage, where it is gone."""
    return Diagnostic(
        "let-across-steps",
        f"`{name}` is gone here: a table or stage lies between",
        span,
        help=f"a `meta {name}: …` of the service lives through the whole chain",
        notes=(Note("it is declared here", declared),) if declared else (),
    )


def recursion(names: Sequence[str], spans: Sequence[Span]) -> Diagnostic:
    """Actions that call one another in a circle: `names[i]` calls `names[i + 1]` at `spans[i]`, the last the first."""
    circle = " → ".join(f"`{name}`" for name in (*names, names[0]))
    following = (*names[1:], names[0])
    notes = tuple(
        Note(f"`{caller}` calls `{called}` here", span)
        for caller, called, span in zip(names[1:], following[1:], spans[1:], strict=True)
    )
    label = f"`{names[0]}` calls `{following[0]}` here"
    return Diagnostic("recursion", f"actions call one another in a circle: {circle}", spans[0], label=label, notes=notes)


def unreachable_code(span: Span, cause: Span) -> Diagnostic:
    """Statements behind one that always ends in a verdict."""
    return Diagnostic(
        "unreachable-code",
        "no packet gets here",
        span,
        Severity.WARNING,
        notes=(Note("every packet leaves here", cause),),
    )


def header_may_be_absent(header: str, what: str, span: Span, notes: tuple[Note, ...] = ()) -> Diagnostic:
    """A field read or assigned where its header need not be in the packet."""
    return Diagnostic(
        "header-may-be-absent",
        f"a packet may get here without `{header}`",
        span,
        label=f"{what} `{header}`",
        help=f"ask first: `if {header} {{ … }}`",
        notes=notes,
    )


def header_never_present(header: str, what: str, span: Span, notes: tuple[Note, ...] = ()) -> Diagnostic:
    """A field read or assigned where its header cannot be in the packet."""
    return Diagnostic("header-never-present", f"no packet gets here with `{header}`", span, label=f"{what} `{header}`", notes=notes)


def pipeline_too_long(chain: str, length: int, limit: int, span: Span) -> Diagnostic:
    """A chain that could need more tail calls than the kernel makes for one packet."""
    return Diagnostic(
        "pipeline-too-long",
        f"a packet may take {length} steps through chain `{chain}`, and the kernel allows {limit}",
        span,
        help="put stages that stand side by side into one",
    )
