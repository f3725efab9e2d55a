"""`pcnc` commands without the third of a second that Python takes to begin: forked from a process that has all of it imported.

What a driver's child does is the command line's own `run`, with its arguments, environment and output; only imports are over
when it begins, so that the system calls that are watched are those of the operation. Its exit status is that of the command, or
minus the number of the signal that ended it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from bench.lab import Namespace, enter
from soak.interception import Call, Listener, free_descriptor, install_filter

_LARGEST = 1 << 16
_PACKAGES = ("pcnc", "pcnc_ebpf", "pcnc_grammar", "pcnc_runtime")
_LATE = ("asyncio", "concurrent.futures.thread", "pyroute2", "pyroute2.netlink.exceptions", "rich.progress", "shutil", "tempfile")

_READY = 999
"""Out of the way of the descriptors that a command is given."""

Watch = Literal["nothing", "changes", "everything"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that is over."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """All that it said."""
        return f"exit status {self.status}\n{self.output}{self.errors}"


Decide = Callable[[Listener, Call], None]
"""Answers a call: allows it, has it fail, or kills who makes it."""


class Driver:
    """A process that has everything imported, and forks a child for each command. Environment and namespace are the commands'."""

    def __init__(self, namespace: Namespace, variables: Mapping[str, str], folder: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket, self._folder = ours, folder
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", **variables}
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        command = [sys.executable, "-m", "soak.driver", str(theirs.fileno()), str(namespace.path)]
        with theirs:
            self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], cwd=folder)
        ours.settimeout(120)
        self._told()

    def _told(self) -> Any:
        words = self._socket.recv(_LARGEST)
        if not words:
            raise RuntimeError("the driver has ended")
        return json.loads(words)

    def run(self, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> Ended:
        """Runs a command to its end."""
        return self.watch("nothing", None, *arguments, variables=variables)

    def watch(
        self,
        what: Watch,
        decide: Decide | None,
        *arguments: str | Path,
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Runs a command, and has `decide` answer each of the calls that are watched."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            order = {"arguments": [str(each) for each in arguments], "watch": what, "variables": dict(variables or {})}
            socket.send_fds(self._socket, [json.dumps(order).encode()], [output.fileno(), errors.fileno()])
            begun = self._told()
            if decide is not None:
                listener = Listener(begun["pid"], begun["fd"])
                try:
                    for call in listener.calls():
                        decide(listener, call)
                except BaseException:
                    os.kill(begun["pid"], signal.SIGKILL)
                    raise
                finally:
                    listener.close()
                    status = self._told()["status"]
            else:
                status = self._told()["status"]
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Ended(os.waitstatus_to_exitcode(status), *texts)

    def close(self) -> None:
        """Ends it."""
        self._socket.close()
        self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---- in the process


def _import_everything() -> None:
    for package in _PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    from pcnc_runtime.libbpf import library

    library()


def _serve(orders: socket.socket) -> None:
    orders.send(b"{}")
    while True:
        words, descriptors, _, _ = socket.recv_fds(orders, _LARGEST, 2)
        if not words:
            return
        order = json.loads(words)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            orders.close()
            os.close(reader)
            _command(order, descriptors, writer)
        os.close(writer)
        with open(reader, "rb") as told:
            fd = told.read()
        for each in descriptors:
            os.close(each)
        orders.send(json.dumps({"pid": pid, "fd": int(fd or b"-1")}).encode())
        orders.send(json.dumps({"status": os.waitpid(pid, 0)[1]}).encode())


def _command(order: Any, descriptors: Sequence[int], ready: int) -> NoReturn:
    status = 70
    try:
        for given, fd in zip(descriptors, (1, 2), strict=True):
            os.dup2(given, fd)
            os.close(given)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(order["variables"])
        sys.argv = ["pcnc", *order["arguments"]]
        from pcnc.cli import main

        os.dup2(ready, _READY)
        os.close(ready)
        fd = free_descriptor()
        os.write(_READY, str(fd if order["watch"] != "nothing" else -1).encode())
        os.close(_READY)
        if order["watch"] != "nothing":
            install_filter(all_calls=order["watch"] == "everything")
        main()
    finally:
        os._exit(status)


def main() -> None:
    """Serves commands until the other end of the socket is closed."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    enter(Path(sys.argv[2]))
    _import_everything()
    _serve(orders)


if __name__ == "__main__":
    main()
