"""Makes docs/problems.md: every problem that the compiler can tell, what it means, and an example, from what tests/ui holds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from pcnc import parse_problems
from pcnc.diagnostics import Diagnostic
from pcnc.problems import flow, headers, names, rules, tables, tests, values

UI = Path(__file__).parent / "ui"
PARTS = (
    ("Syntax", parse_problems),
    ("Names", names),
    ("Values and types", values),
    ("Headers", headers),
    ("Statements and chains", flow),
    ("Tables", tables),
    ("Rules", rules),
    ("Tests", tests),
)
HEAD = """# Problems

Everything that the compiler can say of a program or of rules. Each problem has a name that never changes; it stands in brackets
behind `error` or `warning`, and in the `--json` output of `pcnc check`. What is wrong stands in the first line, and how to mend it,
where that is known, behind `help`. An error is in the way of everything; a warning is not.

All problems of a file are told at once, those of its syntax before the others. What commands say of files, devices and the kernel
stands in [commands.md](commands.md#what-can-go-wrong).
"""


def problems_page() -> str:
    """The whole page."""
    listed: set[str] = set()
    lines = [HEAD]
    for title, module in PARTS:
        lines.append(f"## {title}\n")
        for name, function in _problems_of(module):
            if name not in listed:
                listed.add(name)
                lines += [f"### {name}\n", f"{_meaning(function)}\n", *_example(name)]
    lines += [
        "## When tests run\n",
        "### test-failed\n",
        "An expectation of a test did not hold, or its packet cannot be built.\n",
        "### test-disagrees\n",
        "The compiled programs did something else than the reference interpreter: verdict, bytes or counts. It is a fault of pcnc.",
    ]
    return "\n".join(lines) + "\n"


def _problems_of(module: ModuleType) -> Iterator[tuple[str, Callable[..., Diagnostic]]]:
    for name in module.__all__:
        function = getattr(module, name)
        if inspect.get_annotations(function).get("return") == "Diagnostic":
            yield name.replace("_", "-"), function


def _meaning(function: Callable[..., Diagnostic]) -> str:
    """The first sentence of the docstring, without what it says of the function's own parameters."""
    text = " ".join((inspect.getdoc(function) or "").split())
    own = "|".join(inspect.signature(function).parameters)
    sentence = re.split(rf"(?<=\.) |: (?=`(?:{own})\b)|; the reason is", text)[0]
    sentence = re.sub(rf" before `(?:{own})`", "", sentence)
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def _example(name: str) -> Iterator[str]:
    """The first diagnostic of that name in the text of its program; nothing where no program can be shown."""
    path = UI / f"{name}.stderr"
    if path.exists():
        told = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
        found = next(text for text in told if re.match(rf"(error|warning)\[{name}\]", text))
        yield f"```text\n{found}\n```\n"
