"""Every problem has a program that has it, and the text that tells of it; `PCNC_BLESS=1` writes the texts anew."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import ModuleType

import pytest

from pcnc import parse_problems, problems
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.lower import lower
from pcnc.parse import parse, parse_prelude
from pcnc.render import render
from pcnc.resolve import resolve
from pcnc.source import Source

pytestmark = pytest.mark.text

UI = Path(__file__).parent / "ui"
PROGRAMS = sorted(UI.glob("*.pcn"))


def diagnose(source: Source) -> tuple[Diagnostic, ...]:
    """All that the compiler has to say of a source."""
    try:
        program, warnings = resolve(parse_prelude(), parse(source))
        for service in program.services:
            lower(program, service)
    except CompileError as error:
        return error.diagnostics
    return warnings


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_what_is_told(path: Path) -> None:
    found = diagnose(Source(path.name, path.read_text(encoding="utf-8")))
    assert path.stem in {diagnostic.name for diagnostic in found}
    told = render(found, colour=False)
    expected = path.with_suffix(".stderr")
    if os.environ.get("PCNC_BLESS") == "1":
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")


def test_every_problem_has_a_program() -> None:
    wanted = names_of_problems(problems)
    assert len(wanted) > 80
    have = {path.stem for path in PROGRAMS}
    assert wanted <= have, f"no tests/ui/*.pcn for {sorted(wanted - have)}"
    strange = have - wanted - names_of_problems(parse_problems)
    assert not strange, f"tests/ui/*.pcn that no problem is named after: {sorted(strange)}"


def names_of_problems(module: ModuleType) -> set[str]:
    """The problems that a module has the wording of, by their own names."""
    functions = (value for value in vars(module).values() if inspect.isfunction(value))
    return {f.__name__.replace("_", "-") for f in functions if inspect.get_annotations(f).get("return") == "Diagnostic"}


def test_no_text_is_left_over() -> None:
    assert {path.stem for path in UI.glob("*.stderr")} == {path.stem for path in PROGRAMS}
