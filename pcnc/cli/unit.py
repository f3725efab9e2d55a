"""`pcnc unit`: the systemd unit that restores services at boot, for the `pcnc` that prints it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcnc.cli.report import guarded

_EARLY = """\
[Unit]
Description=pcnc: packet filters that were loaded when the machine went down
DefaultDependencies=no
RequiresMountsFor={state} /sys/fs/bpf
After=systemd-udev-trigger.service systemd-modules-load.service systemd-sysctl.service
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
"""

_LATE = """\
[Unit]
Description=pcnc: packet filters on devices that are made when the network comes up
RequiresMountsFor={state} /sys/fs/bpf
Wants=network.target
After=network.target pcnc.service
"""

_SERVICE = """
[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={pcnc} restore --all{wait}
ExecStop={pcnc} save --all

[Install]
WantedBy={target}
"""

_PASSED_ON = ("PCNC_STATE", "PCNC_RUN", "PCNC_BPFFS", "PCNC_LIBBPF")


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Print a systemd unit that restores at boot.")(unit)


@guarded
def unit(
    late: Annotated[
        bool, typer.Option("--late", help="For devices that are made when the network comes up: bridges, tunnels, VLANs.")
    ] = False,
    wait: Annotated[
        int | None, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for devices; 30 with --late, else 10.")
    ] = None,
) -> None:
    """Print a systemd unit that restores services at boot, before the network is up, and saves counts at shutdown."""
    print(unit_text(late=late, wait=wait), end="")


def unit_text(*, late: bool = False, wait: int | None = None) -> str:
    """The unit. Variables that tell where things lie are passed on to it."""
    from pcnc_runtime.state import state_folder

    seconds = (30 if late else 10) if wait is None else wait
    passed_on = [(name, os.environ[name]) for name in _PASSED_ON if os.environ.get(name)]
    service = _SERVICE.format(
        environment="".join(f'Environment="{name}={_escaped(value)}"\n' for name, value in passed_on),
        pcnc=_command(),
        wait=f" --wait {seconds}" if seconds else "",
        target="multi-user.target" if late else "sysinit.target",
    )
    return (_LATE if late else _EARLY).format(state=state_folder()) + service


def _command() -> str:
    """What runs this very pcnc: the script beside the interpreter, or else the module."""
    script = Path(sys.executable).with_name("pcnc")
    if script.exists():
        return _quoted(str(script))
    return f"{_quoted(sys.executable)} -m pcnc.cli"


def _quoted(path: str) -> str:
    return f'"{_escaped(path)}"' if any(each in path for each in " \"'\\%$") else path


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
