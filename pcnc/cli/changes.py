"""Carrying out a change of a loaded service and telling what it was, Ctrl-C included."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pcnc.cli.report import Interrupted, print_json
from pcnc_runtime.changes import Attachment, AttachState, Change, RuleChanges
from pcnc_runtime.errors import RuntimeProblem


@contextmanager
def told_if_interrupted(name: str, *, last: bool = True) -> Iterator[None]:
    """Where Ctrl-C ends the body, which changes a service, says whether the change has come into force.

    `last`: the body is all that the command does, and what it did is told at its end.
    """
    began = time.time()
    try:
        yield
        if last:
            # What was done is told: an interrupt that comes now finds nothing left to interrupt.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        raise Interrupted(_after_interrupt(name, began)) from None
    except RuntimeError as error:
        # Python 3.11 wraps what interrupts the making of a class while a module is imported.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        raise Interrupted(_after_interrupt(name, began)) from None


def report_change(change: Change, as_json: bool) -> None:
    """Prints what a change did, for people or as JSON."""
    if as_json:
        print_json(change_to_json(change))
    else:
        tell_change(change)


def _after_interrupt(name: str, began: float) -> str:
    """What is in force now; a change that came in is newer than the command."""
    from pcnc_runtime.operations import describe, loaded_names

    try:
        if name not in loaded_names():
            return f"`{name}` is not loaded"
        facts = describe(name)
    except RuntimeProblem as problem:
        return f"`pcnc show {name}` tells what is in force ({problem.message})"
    if facts.since >= began:
        return f"the change was made already: generation {facts.generation} of `{name}` is in force"
    return f"nothing was changed: generation {facts.generation} of `{name}` is in force"


def tell_change(change: Change) -> None:
    """Prints what a change did."""
    if not change.changed:
        print(f"{change.name}: nothing to change; generation {change.generation} stays in force")
        return
    if change.dry_run:
        print(f"{change.name}: this can be done; nothing was changed")
    else:
        took = f"in {duration(change.in_force)}, of which the flip took {duration(change.flip)}"
        print(f"{change.name}: generation {change.generation} is in force {took}")
    for line in what_changed(change):
        print(f"  {line}")
    tell_notes(change)


def what_changed(change: Change) -> list[str]:
    """What a change did to devices, rules, settings and programs, each in a phrase."""
    return [
        *(attachment_in_words(attachment) for attachment in change.attachments),
        *(f"{attachment_in_words(attachment)}, taken off" for attachment in change.detached),
        *(_rules(rules) for rules in change.rules),
        *(f"setting {setting.name}: {setting.before or '(none)'} → {setting.after or '(none)'}" for setting in change.settings),
        *([] if change.dry_run else [_code(change)]),
    ]


def tell_notes(change: Change) -> None:
    """Prints the notes and warnings of a change, on standard error."""
    for kind, texts in (("note", change.notes), ("warning", change.warnings)):
        for text in texts:
            print(f"{kind}: {text}", file=sys.stderr)


def _code(change: Change) -> str:
    blocks = f"{change.programs} block{'' if change.programs == 1 else 's'} loaded" if change.programs else "no block loaded"
    compiled = ", compiled for it" if change.compiled else ""
    wider = "" if change.exact else "; made for more kinds of rules than there are, so slower than it could be"
    return f"{blocks}, variant {change.variant}{compiled}{wider}"


def _rules(changes: RuleChanges) -> str:
    parts = [
        f"{len(ids):,} {word} ({_ids(ids)})"
        for ids, word in ((changes.added, "added"), (changes.removed, "removed"), (changes.replaced, "changed"))
        if ids
    ]
    return f"{changes.table}: {', '.join(parts) or 'no rule changed'}"


def _ids(ids: Iterable[int]) -> str:
    """`id 4`, `ids 1-1000, 1004`; not more than six stretches."""
    stretches: list[list[int]] = []
    for id in sorted(ids):
        if stretches and stretches[-1][1] == id - 1:
            stretches[-1][1] = id
        else:
            stretches.append([id, id])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in stretches[:6]]
    if len(stretches) > 6:
        shown.append("…")
    only_one = len(stretches) == 1 and stretches[0][0] == stretches[0][1]
    return f"id{'' if only_one else 's'} {', '.join(shown)}"


_IN_WORDS: Mapping[AttachState, str] = {
    "attached": "",
    "detached": "taken off by somebody",
    "replaced": "another program is there by now",
    "gone": "the device is gone",
    "moved": "the device is in another network namespace",
    "unknown": "its network namespace cannot be entered",
    "saved": "",
}


def attachment_in_words(attachment: Attachment) -> str:
    """`eth0 ingress: xdp, native`, and what is wrong with it, if anything is."""
    mode = f", {attachment.mode}" if attachment.mode else ""
    wrong = attachment.remark or _IN_WORDS[attachment.state]
    return f"{attachment.device} {attachment.chain} ({attachment.hook}{mode}){f': {wrong}' if wrong else ''}"


def duration(seconds: float) -> str:
    """A time in the unit that fits."""
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1_000_000:.0f} µs"


def change_to_json(change: Change) -> dict[str, Any]:
    """A change for programs; times in seconds."""
    return {
        "name": change.name,
        "what": change.what,
        "generation": change.generation,
        "previous": change.previous,
        "in_force": change.in_force,
        "flip": change.flip,
        "variant": change.variant,
        "exact": change.exact,
        "compiled": change.compiled,
        "programs": change.programs,
        "rules": [
            {"table": r.table, "added": list(r.added), "removed": list(r.removed), "replaced": list(r.replaced)}
            for r in change.rules
        ],
        "settings": [{"name": each.name, "before": each.before, "after": each.after} for each in change.settings],
        "attachments": [attachment_to_json(attachment) for attachment in change.attachments],
        "detached": [attachment_to_json(attachment) for attachment in change.detached],
        "warnings": list(change.warnings),
        "notes": list(change.notes),
        "dry_run": change.dry_run,
        "changed": change.changed,
    }


def attachment_to_json(attachment: Attachment) -> dict[str, Any]:
    """An attachment for programs."""
    return {
        "device": attachment.device,
        "index": attachment.index,
        "chain": attachment.chain,
        "hook": attachment.hook,
        "mode": attachment.mode,
        "state": attachment.state,
        "remark": attachment.remark,
    }
