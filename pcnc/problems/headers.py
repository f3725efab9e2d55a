"""The wording of problems with headers: layout, parse graph, eithers and enums."""

from __future__ import annotations

from collections.abc import Sequence

from pcnc.diagnostics import Diagnostic, Note
from pcnc.source import Span

__all__ = [
    "bad_checksum_clause",
    "bad_either",
    "bad_enum",
    "bad_field_type",
    "bad_size_clause",
    "bad_stack",
    "clause_reads_elsewhere",
    "header_cycle",
    "header_not_whole_bytes",
    "header_without_parent",
    "previous_is_ambiguous",
    "too_many_header_paths",
]


def header_cycle(names: Sequence[str], spans: Sequence[Span]) -> Diagnostic:
    """Headers that follow one another in a circle: `names[i]` stands after `names[i + 1]` by what is at `spans[i]`."""
    following = (*names[1:], names[0])
    circle = ", ".join(f"`{name}` after `{parent}`" for name, parent in zip(names, following, strict=True))
    notes = tuple(
        Note(f"`{name}` stands after `{parent}` here", span)
        for name, parent, span in zip(names[1:], following[1:], spans[1:], strict=True)
    )
    return Diagnostic(
        "header-cycle",
        f"headers follow one another in a circle: {circle}",
        spans[0],
        help="a header that repeats has a depth: `header NAME[2] after …, NAME when …`",
        notes=notes,
    )


def header_without_parent(name: str, root: str, span: Span) -> Diagnostic:
    """A second header that claims to stand at the beginning of the frame."""
    return Diagnostic(
        "header-without-parent",
        f"header `{name}` stands after nothing",
        span,
        help=f"only `{root}` begins a frame: `header {name} after PARENT when CONDITION {{ … }}`",
    )


def header_not_whole_bytes(name: str, bits: int, span: Span) -> Diagnostic:
    """Fields that do not end on a byte."""
    missing = -bits % 8
    if not bits:
        return Diagnostic("header-not-whole-bytes", f"header `{name}` has no fields", span)
    return Diagnostic(
        "header-not-whole-bytes",
        f"the fields of `{name}` take {bits} bits, which is not a whole number of bytes",
        span,
        help=f"`_: u{missing}` fills it up",
    )


def bad_field_type(name: str, type: str, span: Span) -> Diagnostic:
    """A type that has no form on the wire."""
    return Diagnostic("bad-field-type", f"field `{name}` cannot be `{type}`, which has no form on the wire", span)


def bad_stack(name: str, depth: int, reason: str, span: Span) -> Diagnostic:
    """A header with a depth that cannot follow itself, or the other way round."""
    return Diagnostic("bad-stack", f"header `{name}` has a depth of {depth}, {reason}", span)


def bad_size_clause(name: str, reason: str, span: Span) -> Diagnostic:
    """Cases of a size of which not exactly the last is unconditional."""
    return Diagnostic("bad-size-clause", f"the size of `{name}` {reason}", span)


def previous_is_ambiguous(name: str, parents: Sequence[str], span: Span) -> Diagnostic:
    """`previous` in a header that can follow several."""
    shown = ", ".join(f"`{parent}`" for parent in parents) or "nothing"
    return Diagnostic(
        "previous-is-ambiguous",
        f"`previous` is not one header: `{name}` stands after {shown}",
        span,
    )


def clause_reads_elsewhere(clause: str, allowed: str, span: Span) -> Diagnostic:
    """A header's clause that reads something that is not known when the header is parsed."""
    return Diagnostic("clause-reads-elsewhere", f"{clause} reads only {allowed}", span)


def bad_checksum_clause(reason: str, span: Span) -> Diagnostic:
    """A checksum over nothing, or in a field that cannot hold one."""
    return Diagnostic("bad-checksum-clause", reason, span, help="`checksum FIELD covers header, payload, pseudo`")


def bad_either(name: str, reason: str, span: Span, notes: tuple[Note, ...] = ()) -> Diagnostic:
    """Members that a packet can hold at once, or that have nothing in common."""
    return Diagnostic("bad-either", f"`{name}` cannot stand for one of its members: {reason}", span, notes=notes)


def bad_enum(name: str, reason: str, span: Span) -> Diagnostic:
    """An enum over a type that is no number."""
    return Diagnostic("bad-enum", f"enum `{name}` {reason}", span)


def too_many_header_paths(limit: int, span: Span | None) -> Diagnostic:
    """A parse graph with more ways through it than the compiler follows."""
    return Diagnostic(
        "too-many-header-paths", f"the headers can follow one another in more than {limit} ways", span, help="use fewer parents"
    )
