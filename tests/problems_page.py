"""Makes docs/problems.md: every problem that the compiler can tell, what it means, and an example, from what tests/ui holds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from pcnc import change_problems, parse_problems
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
    ("Files of changes", change_problems),
    ("Tests", tests),
)
HEAD = """# Problems

Everything that the compiler can say of a program or of rules. Each problem has a name that never changes; it stands in brackets
behind `error` or `warning`, and in the `--json` output of `pcnc check`. What is wrong stands in the first line, and how to mend it,
where that is known, behind `help`. An error is in the way of everything; a warning is not.

All problems of a file are told at once, those of its syntax before the others. What commands say of files, devices and the kernel
stands in [commands.md](commands.md#what-can-go-wrong).
"""

REFUSED = """
## When a program is refused

### verifier-refused

The kernel's verifier does not take a program that pcnc has made. Whatever stands in the source, that is a fault of pcnc. Nothing
is changed by it: what ran before runs on. The place is the line that the program comes from; below stand the instruction, what the
verifier knew of its register, and what it has against it. `--verbose` shows the whole of its log. Of a bundle, which has no source,
the line is named, and what the log quotes of it.

```text
error[verifier-refused]: the kernel's verifier refuses `mark`: R1 offset is outside of the packet
  --> remark.pcn:32:21
   |
32 |                     ipv4.dscp = u6(class)
   |                     ^^^^^^^^^^^^^^^^^^^^^ compiled to this
   = help: this is a bug of pcnc, not of your program. Please report it, with remark.pcn,
           what this command prints with --verbose, and this line:
           pcnc 0.1.0, Linux 6.18.44 x86_64, Debian clang version 19.1.7
   = note: --verbose shows the whole log, 20 lines more than these
  | 37: (69) r2 = *(u16 *)(r1 +0)            ; R1=pkt(id=2,r=0,smin=smin32=0,smax=umax=smax32=umax32=0xffff,var_off=(0x0; 0xffff))
  | invalid access to packet, off=0 size=2, R1(id=2,off=0,r=0)
  | R1 offset is outside of the packet
```

### clang-refused, bcc-refused

Clang does not take the C of a program. That is a fault of pcnc, too, and told in the same way.

### bcc-refused

The same of [BCC](toolchains.md).

### How to report it

What helps to find the fault: the source, or the bundle; the command, and all that it prints with `--verbose`; the line with the
versions of pcnc, the kernel and the compiler, which stands in what is printed. Where rules were added since, `pcnc rules NAME TABLE
list` of the service: code is made for the rules that there are. A bundle of the source holds the C as it was compiled:
`pcnc build FILE -o DIR`.

Report it where you have pcnc from.
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
        "",
        REFUSED.strip("\n"),
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
    for path in (UI / f"{name}.stderr", UI / "changes" / f"{name}.stderr"):
        if not path.exists():
            continue
        told = path.read_text(encoding="utf-8").strip("\n").split("\n\n")
        found = next(text for text in told if re.match(rf"(error|warning)\[{name}\]", text))
        yield f"```text\n{found}\n```\n"
