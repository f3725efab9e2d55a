"""Why packets end: the list of reasons of a chain, from the whole service, so that pruning never renumbers them."""

from __future__ import annotations

from pcnc.blocks import verdicts_of
from pcnc.program import ApplyTable, Branch, Chain, RunStage, Service, Step
from pcnc_ebpf.write_statements import INTERNAL, MALFORMED, NEXT, TAIL_CALL


def reasons_of(service: Service, chain: Chain) -> tuple[str, ...]:
    """`next`, what any table or stage of the chain can say, and what goes wrong, in that order."""
    found: dict[str, None] = {NEXT: None}
    _collect(service, chain.steps, found)
    return (*found, MALFORMED, TAIL_CALL, INTERNAL)


def _collect(service: Service, steps: tuple[Step, ...], found: dict[str, None]) -> None:
    for step in steps:
        match step:
            case ApplyTable(table=name):
                table = service.table(name)
                for action in table.actions:
                    for kind in sorted(verdicts_of(service.action(action).body, service) & {"drop", "pass"}, key=str):
                        found[f"{kind}: rule {name}"] = None
                for kind in sorted(verdicts_of((table.default,), service) & {"drop", "pass"}, key=str):
                    found[f"{kind}: default {name}"] = None
            case RunStage(stage=name):
                for kind in sorted(verdicts_of(service.stage(name).body, service) & {"drop", "pass"}, key=str):
                    found[f"{kind}: stage {name}"] = None
            case Branch(then=then, otherwise=otherwise):
                _collect(service, then, found)
                _collect(service, otherwise, found)
