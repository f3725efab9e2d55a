"""The entries of chains: what sits on the devices while generations come and go."""

from __future__ import annotations

from pcnc.manifest import EntryPlan
from pcnc_runtime.bundle_store import StoredBundle
from pcnc_runtime.errors import problem_from_errno
from pcnc_runtime.kernel_maps import MapType, create_map
from pcnc_runtime.objects import load_program
from pcnc_runtime.pins import pin
from pcnc_runtime.programs import Program
from pcnc_runtime.signals import without_signals
from pcnc_runtime.state import Place


def make_entry(place: Place, plan: EntryPlan, stored: StoredBundle) -> Program:
    """Makes and pins a chain's entry: the array of one slot, the count of packets that find it empty, the program."""
    folder, chain = place.pins, plan.chain
    try:
        with (
            create_map(MapType.PROG_ARRAY, 4, 4, 1, name="entry") as entry,
            create_map(MapType.PERCPU_ARRAY, 4, 8, 1, name="fallen") as fallen,
        ):
            given = {"blocks": entry.fd, "verdicts": fallen.fd}
            with without_signals():
                program = load_program(stored.read(plan.object), maps=given, name=f"entry_{chain}")
            pin(entry.fd, folder / f"entry_{chain}")
            pin(fallen.fd, folder / f"fallen_{chain}")
            pin(program.fd, folder / f"program_{chain}")
            return program
    except OSError as error:
        raise problem_from_errno(error, f"make the entry of chain `{chain}`") from None
