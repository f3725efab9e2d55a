"""Eithers: one name for headers of which a packet has at most one, and the fields that all of them have."""

from __future__ import annotations

from dataclasses import replace

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostics, Note
from pcnc.parse_graph import Either, Field, Headers
from pcnc.presence.worlds import Worlds


def resolve_either(written: syntax.EitherDeclaration, headers: Headers, worlds: Worlds, found: Diagnostics) -> Either | None:
    """The either; None where a problem has been told."""
    name = written.name.text
    members: list[str] = []
    for identifier in written.members:
        instances = [instance for instance in headers.instances if instance.header == identifier.text]
        if not instances:
            known = (instance.header for instance in headers.instances)
            found.add(problems.unknown_name(identifier.text, identifier.span, known))
            return None
        for instance in instances:
            if instance.name in members:
                found.add(problems.given_twice(identifier.text, identifier.span))
                return None
            together = [member for member in members if worlds.holding(member) & worlds.holding(instance.name)]
            if together:
                reason = f"a packet can hold `{together[0]}` and `{instance.name}` at once"
                notes = (Note(f"`{identifier.text}` is declared here", instance.span),)
                found.add(problems.bad_either(name, reason, identifier.span, notes))
                return None
            members.append(instance.name)
    of_members = [headers.instance(member).fields for member in members]
    common = tuple(field for field in of_members[0] if all(_has(fields, field) for fields in of_members)) if of_members else ()
    # What must not be assigned in one of them must not be assigned by the name of all.
    fixed = {field.name for fields in of_members for field in fields if not field.assignable}
    common = tuple(replace(field, assignable=field.name not in fixed) for field in common)
    if not common:
        found.add(problems.bad_either(name, "they have no field in common", written.span))
        return None
    return Either(name, tuple(members), common)


def _has(fields: tuple[Field, ...], wanted: Field) -> bool:
    return any(field.name == wanted.name and field.type == wanted.type for field in fields)
