"""The wording of problems with names: unknown, taken, of another kind, or of a later version."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from pcnc.diagnostics import Diagnostic, Note, Severity
from pcnc.source import Span

__all__ = [
    "duplicate_chain",
    "duplicate_name",
    "given_twice",
    "no_chain",
    "no_service",
    "not_a_value",
    "not_in_this_version",
    "reserved_name",
    "unknown_action",
    "unknown_chain",
    "unknown_column",
    "unknown_field",
    "unknown_name",
    "unknown_step",
    "unknown_table",
    "unknown_type",
    "unused",
]

_MOST_CANDIDATES = 500


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A help text that names the candidate closest to `name`, or nothing."""
    import difflib

    # difflib is slow: only names of about the same length and letters come to it.
    letters = set(name)
    alike = (c for c in candidates if abs(len(c) - len(name)) <= 3 and 2 * len(letters & set(c)) >= len(letters))
    names = list(islice(alike, _MOST_CANDIDATES))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def listed(names: Iterable[str]) -> str:
    """`a`, `b` and `c`; a long list is cut."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > 12:
        return ", ".join(quoted[:12]) + f" and {len(quoted) - 12} more"
    return " and ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))


def unknown_name(name: str, span: Span, known: Iterable[str], help: str = "") -> Diagnostic:
    """An operand that nothing of that name stands behind."""
    return Diagnostic(
        "unknown-name",
        f"there is no `{name}` here",
        span,
        label="not a header, constant, setting, meta, let or parameter",
        help=did_you_mean(name, known) or help,
    )


def unknown_field(owner: str, name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    """`ipv4.sorce`: a header (or a value) without such a field (or property)."""
    names = tuple(known)
    has = f"`{owner}` has {listed(names)}" if names else f"`{owner}` has no fields"
    return Diagnostic(
        "unknown-field",
        f"`{owner}` has no `{name}`",
        span,
        label="no such field",
        help=did_you_mean(name, names) or has,
    )


def unknown_type(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    """A type that is neither built in nor an enum."""
    is_number = name.lstrip("uint").isdigit() or name in ("int", "uint")
    nearest = "" if is_number else did_you_mean(name, known)
    return Diagnostic(
        "unknown-type",
        f"there is no type `{name}`",
        span,
        help=nearest or "types are bool, u1 to u64, ipv4_addr, ipv6_addr, mac_addr, duration and enums",
    )


def unknown_action(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    """An action named by a table or called by a statement that the service does not have."""
    names = tuple(known)
    return Diagnostic(
        "unknown-action",
        f"there is no action `{name}`",
        span,
        help=did_you_mean(name, names) or f"the actions are {listed(names)}",
    )


def unknown_table(name: str, span: Span | None, known: Iterable[str]) -> Diagnostic:
    """Rules for, or a counter of, a table that the service does not have."""
    names = tuple(known)
    has = f"the tables are {listed(names)}" if names else "this service has no tables"
    return Diagnostic("unknown-table", f"there is no table `{name}`", span, help=did_you_mean(name, names) or has)


def unknown_chain(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    """A chain that is neither `ingress` nor `egress`, or one that a test names and the service does not have."""
    names = tuple(known)
    has = f"this service has {listed(names)}" if names else "this service has no chain"
    return Diagnostic("unknown-chain", f"there is no chain `{name}`", span, help=did_you_mean(name, names) or has)


def unknown_step(name: str, span: Span, known: Iterable[str], help: str = "") -> Diagnostic:
    """A name in a chain that is no table, stage, action or verdict."""
    return Diagnostic(
        "unknown-step",
        f"there is no table, stage or action `{name}`",
        span,
        help=help or did_you_mean(name, known),
    )


def unknown_column(name: str, span: Span, table: str, columns: Iterable[str]) -> Diagnostic:
    """A rule that names a field its table does not match."""
    names = tuple(columns)
    return Diagnostic(
        "unknown-column",
        f"table `{table}` does not match `{name}`",
        span,
        help=did_you_mean(name, names) or f"it matches {listed(names)}",
    )


def duplicate_name(name: str, span: Span, earlier: Span | None) -> Diagnostic:
    """A name that is taken."""
    return Diagnostic(
        "duplicate-name",
        f"`{name}` is declared already",
        span,
        label="declared again",
        notes=(Note("the earlier declaration is here", earlier),) if earlier else (),
    )


def given_twice(name: str, span: Span) -> Diagnostic:
    """The same word twice in a list where each stands once: columns, actions, values of a packet's layer."""
    return Diagnostic("given-twice", f"`{name}` stands here twice", span)


def reserved_name(name: str, span: Span) -> Diagnostic:
    """A declaration whose name is a word of the language."""
    return Diagnostic("reserved-name", f"`{name}` is a word of the language", span, label="cannot be declared")


def not_a_value(name: str, kind: str, span: Span, help: str = "") -> Diagnostic:
    """A table, stage, action or type where a value is wanted."""
    article = "an" if kind[0] in "aeiou" else "a"
    return Diagnostic("not-a-value", f"`{name}` is {article} {kind}, not a value", span, help=help)


def not_in_this_version(what: str, span: Span) -> Diagnostic:
    """Something the language will have, and this version has not."""
    return Diagnostic("not-in-this-version", f"{what} is not part of this version", span)


def no_service(path: str, span: Span | None) -> Diagnostic:
    """A file that declares no service."""
    return Diagnostic(
        "no-service",
        f"{path} declares no service",
        span,
        help="`service NAME { chain ingress { … } }` is the least a program has",
    )


def no_chain(service: str, span: Span) -> Diagnostic:
    """A service that does nothing, as it has no chain."""
    return Diagnostic(
        "no-chain",
        f"service `{service}` has no chain, so no packet reaches it",
        span,
        Severity.WARNING,
        help="`chain ingress { … }` says what happens to packets that come in",
    )


def duplicate_chain(name: str, span: Span, earlier: Span) -> Diagnostic:
    """A second chain of the same name in one service."""
    return Diagnostic(
        "duplicate-chain",
        f"the service has a chain `{name}` already",
        span,
        notes=(Note("the earlier chain is here", earlier),),
    )


def unused(kind: str, name: str, span: Span, help: str) -> Diagnostic:
    """A table, stage or action that no packet can reach."""
    return Diagnostic("unused", f"{kind} `{name}` is never used", span, Severity.WARNING, help=help)
