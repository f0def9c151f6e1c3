"""`edgemem export`: the commands. Parses, calls, prints.

Loaded at every start of edgemem, so whatever is heavy is imported where it is used.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemem.cli.options import DryRun, Run, common
from edgemem.cli.output import Output, size
from edgemem.errors import InvalidInput

if TYPE_CHECKING:
    from .preflight import Plan
    from .run import Export

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(help="Folder of a checkpoint (config.json, *.safetensors, tokenizer.json).")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the model; default: NAME-export here.")]
Name = Annotated[str, typer.Option("--name", help="Name of the model; default: that of the folder.")]
Prompts = Annotated[str, typer.Option("--prompts", help="Folder with the prompt texts the model was tuned with.")]
LIGHT = ("gguf", "safetensors")
HEAVY = (*LIGHT, "torch", "transformers")


def need(*modules: str) -> None:
    """Raises InvalidInput where a part of the extra is missing."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise InvalidInput(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            'install the extra: pip install "edgemem-runtime[export]"',
        )


@app.command("gguf")
@common
def gguf(
    run: Run,
    source: Source,
    quant: Annotated[str, typer.Option("--quant", help="Quantizations, with commas.")] = "Q4_K_M",
    out: Out = None,
    name: Name = "",
    imatrix: Annotated[str, typer.Option("--imatrix", help="own: measured on our texts; or a file of one.")] = "",
    prompts: Prompts = "",
    dry_run: DryRun = False,
) -> None:
    """Make quantized GGUF files of a checkpoint. Checks first, writes then; stop it any time, it goes on."""
    need(*LIGHT)
    from .preflight import preflight
    from .quantizations import parse
    from .run import export_gguf

    folder = out or Path(f"{name or source.resolve().name}-export")
    plan = preflight(source, folder, parse(quant), name=name, imatrix=bool(imatrix))
    _show_plan(plan, run.output)
    if dry_run:
        if run.output.json:
            run.output.data(_plan_facts(plan))
        return
    with run.output.progress() as report:
        made = export_gguf(plan, imatrix, report, prompts)
    _show_export(made, run.output)


def _show_plan(plan: Plan, out: Output) -> None:
    network, checkpoint = plan.network, plan.checkpoint
    out.note(
        f"{checkpoint.name}: {network.architecture}, {checkpoint.parameters / 1e6:,.1f} M weights in {plan.base}, "
        f"{network.layers} layers, {'tied' if network.tied else 'untied'} embedding, {network.vocabulary:,} tokens "
        f"({plan.vocabulary.pre_tokenizer})"
    )
    out.note(f"about {size(plan.disk_bytes)} of disk while it runs, {size(plan.ram_bytes)} of memory")
    for note in plan.notes:
        out.warn(note)


def _plan_facts(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "out": plan.out,
        "architecture": plan.network.architecture,
        "parameters": plan.checkpoint.parameters,
        "base": plan.base,
        "file_bytes": plan.file_bytes,
        "disk_bytes": plan.disk_bytes,
        "ram_bytes": plan.ram_bytes,
        "notes": plan.notes,
    }


def _show_export(made: Export, out: Output) -> None:
    if out.json:
        out.data(_plan_facts(made.plan) | {"peak_rss_bytes": made.peak_rss_bytes, "files": _file_facts(made)})
        return
    rows = [
        (one.name, size(one.size_bytes), _types(one.types), f"{one.made.seconds:.1f} s", str(one.made.path))
        for one in made.files
    ]
    out.table(("", "size", "matrices", "made in", "file"), rows)
    for one in made.files:
        if one.fallbacks:
            kinds = sorted(set(one.fallbacks.values()))
            out.warn(f"{one.name}: {len(one.fallbacks)} matrices are {', '.join(kinds)}, since their rows do not fit")
    out.note(f"peak memory {size(made.peak_rss_bytes)} (estimated {size(made.plan.ram_bytes)})")


def _types(types: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in types.items())


def _file_facts(made: Export) -> list[dict[str, Any]]:
    return [
        {
            "quantization": one.name,
            "path": one.made.path,
            "size_bytes": one.size_bytes,
            "sha256": one.made.sha256,
            "seconds": one.made.seconds,
            "peak_rss_bytes": one.made.peak_rss_bytes,
            "again": one.made.again,
            "types": one.types,
            "fallbacks": one.fallbacks,
        }
        for one in made.files
    ]
