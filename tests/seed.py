"""Where tests that draw begin: always the same, so that each run can be had again, unless `PCNC_SEED` says otherwise."""

from __future__ import annotations

import os

IS_CHOSEN = "PCNC_SEED" in os.environ
SEED = int(os.environ.get("PCNC_SEED", "20201014"))
"""Printed where a test fails; the soak draws a new one each time."""
