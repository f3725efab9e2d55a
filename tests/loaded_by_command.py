"""Services that tests load by the command, as people do, and what the command says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pcnc_runtime.operations import loaded_names
from tests.command_line import Done, pcnc
from tests.live_service import Wire, new_name


class Service:
    """A service that the command has loaded on the right end of a wire."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.wire, self.name = wire, name

    def run(self, command: str, *arguments: str | Path, given: str = "") -> Done:
        """`pcnc COMMAND NAME …`"""
        return pcnc(command, self.name, *arguments, within=self.wire.right, given=given)

    def rules(self, table: str, *arguments: str | Path, given: str = "") -> Done:
        """`pcnc rules NAME TABLE …`"""
        return self.run("rules", table, *arguments, given=given)

    def listed(self, table: str) -> list[tuple[int, str, str]]:
        """The rules of a table: id, origin and text."""
        listed = self.rules(table, "list", "--json").check().json["rules"]
        return [(rule["id"], rule["origin"], rule["rule"]) for rule in listed]

    def show(self) -> Any:
        """`pcnc show NAME --json`, without what counts."""
        shown = self.run("show", "--json").check().json
        del shown["statistics"]
        return shown


@contextmanager
def loaded(wire: Wire, source: Path, *arguments: str) -> Iterator[Service]:
    """Loads a service by the command; gone afterwards."""
    service = Service(wire, new_name())
    pcnc("load", source, "--name", service.name, "--dev", "eth0", *arguments, within=wire.right).check()
    try:
        yield service
    finally:
        if service.name in loaded_names():
            service.run("unload").check()
