"""Settings as they are given on the command line: `limit=100`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.rule_values import BadValue, read_value
from pcnc.source import Source, Span
from pcnc.types import Type
from pcnc_runtime.errors import RuntimeProblem


def read_settings(given: Iterable[str] | None, known: Mapping[str, Type]) -> dict[str, int]:
    """The values of settings by name; the types are those of all settings that there are.

    CompileError with every value that does not fit; RuntimeProblem `bad-setting`, `no-such-setting`.
    """
    values: dict[str, int] = {}
    bad: list[Diagnostic] = []
    for text in given or ():
        name, equals, written = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise RuntimeProblem("bad-setting", f"`{text}` is no setting", "write NAME=VALUE")
        if name not in known:
            raise _no_such_setting(name, known)
        if name in values:
            raise RuntimeProblem("bad-setting", f"`{name}` is given twice")
        type = known[name]
        begins = text.index("=") + 1
        try:
            values[name] = read_value(written, type, dict(type.members))
        except BadValue as problem:
            start = begins + len(text[begins:]) - len(text[begins:].lstrip())
            bad.append(problem.tell(Span(Source("<command line>", text), start, start + len(written))))
    if bad:
        raise CompileError(tuple(bad))
    return values


def _no_such_setting(name: str, known: Mapping[str, Type]) -> RuntimeProblem:
    close = get_close_matches(name, known, 1)
    if close:
        help = f"did you mean `{close[0]}`?"
    else:
        help = f"there are {', '.join(f'`{each}`' for each in known)}" if known else "this service has no settings"
    return RuntimeProblem("no-such-setting", f"there is no setting `{name}`", help)
