"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from pcnc.manifest import Hook, Toolchain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Where a program is refused, show all that clang or the kernel's verifier said.")
]
SourceArgument = Annotated[str, typer.Argument(metavar="FILE", help="A source; - is standard input.", show_default=False)]
VersionArgument = Annotated[
    str, typer.Argument(metavar="FILE|BUNDLE", help="A source, or the folder of a bundle.", show_default=False)
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of a loaded service.", show_default=False)]
HookOption = Annotated[Hook, typer.Option("--hook", help="Where packets of chain ingress are taken.")]
ServiceOption = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="Which service of the file; needed where it has several.")
]
ToolchainOption = Annotated[
    Toolchain | None, typer.Option("--toolchain", help="What compiles the blocks; without it clang, and where there is none BCC.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="The value of a setting (`config`); can be given several times."),
]
TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="One of its tables.", show_default=False)]
