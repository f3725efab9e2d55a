"""`pcnc diff`: what one version has that another has not, and what a swap from one to the other would do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcnc.cli.options import AsJson, ServiceOption, Verbose
from pcnc.cli.progress import working
from pcnc.cli.report import guarded, print_json
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc.manifest import Hook, Toolchain
    from pcnc.shape import Shape
    from pcnc_runtime.compare_versions import Coded, Version


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Tell what another version would change.")(diff)


@guarded
def diff(
    old: Annotated[
        str, typer.Argument(metavar="A", help="A loaded service, a source, or the folder of a bundle.", show_default=False)
    ],
    new: Annotated[str, typer.Argument(metavar="B", help="Another one.", show_default=False)],
    service: ServiceOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Tell what would change if B took the place of A: blocks, tables, settings, rules, and what becomes of the state.

    Nothing is touched. Sources and bundles need no privileges, and two sources no clang.
    """
    from pcnc.cli.report_comparison import comparison_to_json, tell_comparison, tell_unfit
    from pcnc_runtime.compare_versions import compare_versions

    with working(f"comparing {old} with {new}"):
        # What is loaded, or was built, has its hook and its service, and a source is taken as it would be for it.
        first = None if _is_source(old) else _open(old, service)
        second = None if _is_source(new) else _open(new, service)
        known = first or second
        hook: Hook = known.manifest.hook if known else "xdp"
        running = known.manifest.service if known else ""
        # Of what is loaded there are only objects; they are compared with those that the same compiler makes.
        loaded = next((version for name, version in ((old, first), (new, second)) if version and _is_loaded(name)), None)
        toolchain = loaded.manifest.toolchain if loaded else None
        first = first or _open_source(old, service, running, hook, toolchain)
        second = second or _open_source(new, service, first.manifest.service, hook, toolchain)
        comparison = compare_versions(first, second)
    if as_json:
        print_json(comparison_to_json(comparison))
        return
    tell_comparison(comparison)
    tell_unfit(comparison.misfits)


def _is_loaded(name: str) -> bool:
    """Whether this names what is loaded rather than a path: `./fw` is always a path."""
    from pcnc_runtime.state import state_folder

    return "/" not in name and os.path.exists(state_folder() / name / "state.json")


def _is_source(name: str) -> bool:
    return not _is_loaded(name) and not os.path.isdir(name)


def _open(name: str, service: str | None) -> Version:
    """What is loaded, or a bundle."""
    if _is_loaded(name):
        from pcnc_runtime import operations

        return operations.read_version(name)
    from pcnc_runtime.bundle import read_bundle
    from pcnc_runtime.read_versions import version_of_bundle

    bundle = read_bundle(Path(name))
    if service not in (None, bundle.manifest.service):
        text = f"{name} has no service `{service}`"
        raise RuntimeProblem("no-such-service", text, f"it has `{bundle.manifest.service}`")
    return version_of_bundle(name, bundle)


def _open_source(name: str, service: str | None, running: str, hook: Hook, toolchain: Toolchain | None) -> Version:
    """A source; it is compiled to objects, by the toolchain given, only where the other side has nothing but these."""
    from pcnc.cli.compile_service import build_shape, open_compiler, read_service
    from pcnc_ebpf.plan import compile_variant, plan_manifest
    from pcnc_runtime.read_versions import coded, version_as_built

    if name != "-" and "/" not in name and not os.path.exists(name):
        help = "`pcnc show` lists what is loaded, to those who may see it"
        raise RuntimeProblem("no-such-file", f"`{name}` is neither loaded nor a file", help)
    chosen = read_service(name, service, otherwise=running)
    manifest, _ = plan_manifest(chosen.program, chosen.service, hook, [])

    def choose(shape: Shape) -> Coded:
        if toolchain is not None:
            built = build_shape(chosen, hook, shape, open_compiler(toolchain))
            return coded(built.variant, built.files.get)
        compiled = compile_variant(chosen.program, chosen.service, shape, hook, name)
        texts = {path: text.encode() for path, text in compiled.code.items()}
        return coded(compiled.variant, texts.get)

    return version_as_built(name, manifest, choose)
