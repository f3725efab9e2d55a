"""`pcnc build`: from a source to a bundle, which a target without compiler and source can load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcnc.cli.compile_service import AS_WRITTEN, build_service, open_compiler, read_service
from pcnc.cli.options import AsJson, HookOption, ServiceOption, SourceArgument, ToolchainOption, Verbose
from pcnc.cli.progress import working
from pcnc.cli.report import guarded, print_json
from pcnc.manifest import Variant

if TYPE_CHECKING:
    from pcnc_runtime.bundle import Bundle


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Compile a service into a bundle.")(build)


@guarded
def build(
    file: SourceArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write; a bundle there is replaced.")],
    hook: HookOption = "xdp",
    service: ServiceOption = None,
    toolchain: ToolchainOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Compile a service into a bundle: C, objects and a manifest, to be loaded where there is neither compiler nor source."""
    from pcnc_runtime.bundle import write_bundle

    chosen = read_service(file, service)
    compiler = open_compiler(toolchain)
    with working(f"compiling {chosen.service.name}"):
        bundle = build_service(chosen, hook, compiler)
        write_bundle(bundle, output)
    manifest = bundle.manifest
    if as_json:
        print_json(_as_json(bundle, output))
        return
    print(f"{output}: service {manifest.service} for {manifest.hook}, {len(bundle.files)} files")
    for variant in manifest.variants:
        print(f"  {variant.name:<10}  {_described(variant)}")


def _described(variant: Variant) -> str:
    blocks = [block for chain in variant.chains for block in chain.blocks if block.kind != "end"]
    parsed = [name for chain in variant.chains for name in chain.parses]
    programs = f"{len(blocks)} block{'' if len(blocks) == 1 else 's'}" if blocks else "no block"
    purpose = "for the file's own rules" if variant.name == AS_WRITTEN else "for any rules"
    return f"{purpose}: {programs}, parses {', '.join(parsed) or 'nothing'}"


def _as_json(bundle: Bundle, output: Path) -> dict[str, object]:
    manifest = bundle.manifest
    variants = [
        {
            "name": variant.name,
            "chains": [
                {
                    "chain": chain.chain,
                    "hook": chain.hook,
                    "blocks": [{"name": block.name, "kind": block.kind, "object": block.object} for block in chain.blocks],
                    "parses": list(chain.parses),
                }
                for chain in variant.chains
            ],
        }
        for variant in manifest.variants
    ]
    return {
        "bundle": str(output),
        "service": manifest.service,
        "hook": manifest.hook,
        "toolchain": manifest.toolchain,
        "toolchain_version": manifest.toolchain_version,
        "variants": variants,
        "needs": list(manifest.needs),
        "files": list(bundle.files),
    }
