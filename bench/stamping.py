"""Versions of a service whose blocks check on each other: each leaves its mark, and counts packets that another version marked.

Each stage has a mark of its own, six bits: the version's number and its own. It writes that into the packet's state and, behind
those of the stages before it, into the source address of the Ethernet header; and it looks in both places for the mark of the
stage before it. What left the last stage tells whose stages it went through, and a table counts those that met two versions.
"""

from __future__ import annotations

from functools import cache

from bench.compiled import firewall
from pcnc.cli.compile_service import build_service
from pcnc_runtime.bundle import Bundle

STAGES = 8
_BITS = 48 // STAGES

TABLE = "outcome"
"""The table that counts, and the last of the blocks: its rule is for packets that met one version, its default for the others."""


def source(version: int) -> str:
    """The text of version 0 or 1."""
    stages = "\n".join(_stage(version, stage) for stage in range(STAGES))
    names = "; ".join(f"stage_{stage + 1}" for stage in range(STAGES))
    return f"""service stamping {{
    meta mark: u8
    meta mixed: u8
{stages}
    table {TABLE} {{
        match   mixed: exact
        action  next
        default next
        size    16
        count   packets, bytes
    }}
    rules {TABLE} {{ 0 -> next }}
    chain ingress {{ {names}; {TABLE} }}
}}
"""


def _mark(version: int, stage: int) -> int:
    return version << (_BITS - 1) | stage + 1


def _stage(version: int, stage: int) -> str:
    check = ""
    if stage:
        before = _mark(version, stage - 1)
        check = f"if mark != {before} or u64(eth.src) & {(1 << _BITS) - 1} != {before} {{ mixed |= 1 }}; "
    mark = _mark(version, stage)
    return (
        f"    stage stage_{stage + 1} {{ {check}mark = {mark}; eth.src = mac_addr((u64(eth.src) << {_BITS} | {mark})"
        f" & 0xffff_ffff_ffff) }}"
    )


def marks(version: int) -> int:
    """What the source address holds behind the last stage, of a packet that only this version's stages treated."""
    return sum(_mark(version, stage) << _BITS * (STAGES - 1 - stage) for stage in range(STAGES))


@cache
def bundle(version: int) -> Bundle:
    """Version 0 or 1, built as `pcnc swap` does."""
    return build_service(firewall(source(version)), "xdp")
