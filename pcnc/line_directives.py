"""Line directives: how C says which line of PCN it comes from, so that clang, the verifier and bpftool speak of that line.

    #line 34 "remark.pcn" /* ipv4.ttl -= 1 */

The C that is compiled has one before each line of code, since C counts on from it; the comment holds the source line, for the
compiler to quote. In the C that people read they would be noise, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pcnc.source import Span

_DIRECTIVE = re.compile(r'\s*#line (?P<line>\d+) "(?P<file>[^"]*)"(?: /\* (?P<text>.*) \*/)?\Z')
_COMMENTS = ("/*", "*")


def file_name(path: str) -> str:
    """A source's name without its folders, as it can stand in a directive: nothing of the machine goes into C or objects."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char if char.isprintable() and char != '"' else "_" for char in name) or "_"


def quoted_line(span: Span) -> str:
    """The source line on which a span begins, as it can stand in a comment of C."""
    line = "".join(char if char.isprintable() else " " for char in span.source.line_text(span.line))
    return line.strip().replace("*/", "* /").replace("/*", "/ *")


def line_directive(span: Span) -> str:
    """What follows, up to the next directive, comes from the line on which the span begins."""
    return f'#line {span.line} "{file_name(span.source.path)}" /* {quoted_line(span)} */'


def with_directive_on_each_line(text: str) -> str:
    """The C as it is compiled: each line of code behind the last directive has it before itself, too; one is quoted once."""
    current, short, lines, quoted = "", "", list[str](), set[str]()
    for line in text.removesuffix("\n").split("\n"):
        if match := _DIRECTIVE.match(line):
            current = line.strip()
            short = f'#line {match["line"]} "{match["file"]}"'
        elif current and line.strip() and not line.lstrip().startswith(_COMMENTS):
            lines += [short if current in quoted else current, line]
            quoted.add(current)
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def without_directives(text: str) -> str:
    """The C as people read it."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#line "))


def quoted_sources(text: str) -> Mapping[str, str]:
    """What the directives of a C text quote, as files: each line in its place, lines that are not quoted empty."""
    lines: dict[str, dict[int, str]] = {}
    for line in text.split("\n"):
        match = _DIRECTIVE.match(line) if line.lstrip().startswith("#line ") else None
        if match and match["text"]:
            lines.setdefault(match["file"], {})[int(match["line"])] = match["text"]
    return {file: "".join(f"{found.get(n, '')}\n" for n in range(1, max(found) + 1)) for file, found in lines.items()}
