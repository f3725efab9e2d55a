"""How services are shown that are written down and not loaded: what `pcnc restore` brings back, and what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcnc.cli.changes import attachment_in_words, attachment_to_json
from pcnc.cli.report import painted, problem_to_json

if TYPE_CHECKING:
    from pcnc_runtime.facts import DamagedFacts, SavedFacts


def tell_not_loaded(facts: SavedFacts | DamagedFacts) -> None:
    """Prints a service that is not loaded, and what to do about it."""
    from pcnc_runtime.facts import SavedFacts

    if not isinstance(facts, SavedFacts):
        print(f"{painted(facts.name, '1')}  damaged: {facts.problem.message}")
        print(f"  it cannot be restored: pcnc unload {facts.name}, and load it anew")
        return
    rules = sum(count for _, count in facts.rules)
    print(
        f"{painted(facts.name, '1')}  service {facts.service}, saved: generation {facts.generation}, "
        f"{rules:,} rule{'' if rules == 1 else 's'}; not loaded since the machine was started"
    )
    where = {None: ", in a network namespace without a name", "": ""}.get(facts.netns, f", in network namespace {facts.netns}")
    for attachment in facts.attachments:
        print(f"  {attachment_in_words(attachment)}{where}")
    for setting in facts.settings:
        print(f"  setting {setting.plan.name} = {setting.text}")
    print(f"  pcnc restore {facts.name} brings it back, pcnc unload {facts.name} forgets it")


def not_loaded_to_json(facts: SavedFacts | DamagedFacts) -> dict[str, Any]:
    """A service that is not loaded, for programs; `state` tells it from one that is."""
    from pcnc_runtime.facts import SavedFacts

    if not isinstance(facts, SavedFacts):
        return {"name": facts.name, "state": "damaged", "problem": problem_to_json(facts.problem)}
    return {
        "name": facts.name,
        "state": "saved",
        "service": facts.service,
        "hook": facts.hook,
        "generation": facts.generation,
        "loaded": facts.loaded,
        "since": facts.since,
        "netns": facts.netns,
        "attachments": [attachment_to_json(attachment) for attachment in facts.attachments],
        "rules": dict(facts.rules),
        "settings": [
            {"name": setting.plan.name, "type": setting.plan.type.name, "value": setting.value, "text": setting.text}
            for setting in facts.settings
        ],
    }
