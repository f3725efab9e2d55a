"""The words that programs, tests and plans share: chains and verdicts."""

from __future__ import annotations

from typing import Literal

ChainName = Literal["ingress", "egress"]
"""What comes in by a device, and what goes out by it."""

VerdictKind = Literal["drop", "pass", "next"]
"""How a packet's way ends: away, to the Linux stack, or on to whatever comes behind this service."""
