"""`edgemem export`: the commands. Parses, calls, prints.

Loaded at every start of edgemem, so whatever is heavy is imported where it is used.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemem.cli.options import DryRun, Run, common
from edgemem.cli.output import Output, size
from edgemem.errors import InvalidInput

if TYPE_CHECKING:
    from .preflight import Plan
    from .request import Request
    from .run import Export
    from .verify.values import Check, Verdict

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(help="Folder of a checkpoint (config.json, *.safetensors, tokenizer.json).")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the model; default: NAME-export here.")]
Name = Annotated[str, typer.Option("--name", help="Name of the model; default: that of the folder.")]
Prompts = Annotated[Path | None, typer.Option("--prompts", help="Folder with the prompts the model was tuned with.")]
Folder = Annotated[Path, typer.Argument(help="Folder that `edgemem export gguf` made.")]
Moved = Annotated[Path | None, typer.Option("--source", help="Where the checkpoint is now, if it has moved.")]
Force = Annotated[bool, typer.Option("--force", help="Keep what failed its checks, marked.")]
Checked = Annotated[bool, typer.Option("--check/--no-check", help="Check and pack, or stop when the files are made.")]
LIGHT = ("gguf", "safetensors", "tokenizers")


HEAVY = (*LIGHT, "torch", "transformers", "onnx", "onnx_ir", "onnxruntime", "onnxruntime_genai")


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
    lora: Annotated[Path | None, typer.Option("--lora", help="Folder of a LoRA adapter (peft) to add first.")] = None,
    keep_adapter: Annotated[
        bool, typer.Option("--keep-adapter", help="Keep the adapter a file of its own, loaded beside the base.")
    ] = False,
    prompts: Prompts = None,
    force: Force = False,
    check: Checked = True,
    dry_run: DryRun = False,
) -> None:
    """Make quantized GGUF files of a checkpoint, check them and pack a model folder. Stop it any time, it goes on.

    Everything is checked before a byte is written; --dry-run stops there. --policy says how the model writes memory.
    """
    need(*LIGHT)
    from .quantizations import parse
    from .request import Request

    folder = out or Path(f"{name or source.resolve().name}-export")
    file = imatrix if imatrix in ("", "own") else str(Path(imatrix).absolute())
    texts = str(prompts.absolute()) if prompts else ""
    policy, adapter = str(run.flags.get("policy") or "edits"), str(lora.absolute()) if lora else ""
    request = Request(
        str(source.absolute()), name, parse(quant), file, texts, policy, lora=adapter, keep_adapter=keep_adapter
    )
    _export(run, request, folder, dry_run=dry_run, check=check, force=force)


@app.command("onnx")
@common
def onnx(
    run: Run,
    source: Source,
    quant: Annotated[str, typer.Option("--quant", help="int4, int8, fp32, with commas.")] = "int4",
    out: Out = None,
    name: Name = "",
    prompts: Prompts = None,
    force: Force = False,
    check: Checked = True,
    dry_run: DryRun = False,
) -> None:
    """Make ONNX folders of a checkpoint with onnxruntime-genai's builder, check them and pack a model folder.

    The builder loads the whole checkpoint: see the estimate with --dry-run.
    """
    need(*HEAVY)
    from .onnx_genai import parse
    from .request import Request

    folder = out or Path(f"{name or source.resolve().name}-onnx-export")
    texts = str(prompts.absolute()) if prompts else ""
    policy = str(run.flags.get("policy") or "edits")
    request = Request(str(source.absolute()), name, parse(quant), "", texts, policy, "onnx")
    _export(run, request, folder, dry_run=dry_run, check=check, force=force)


def _export(run: Run, request: Request, folder: Path, *, dry_run: bool, check: bool, force: bool) -> None:
    from .busy import alone
    from .request import keep

    plan = request.plan(folder)
    _show_plan(plan, run.output)
    if dry_run:
        if run.output.json:
            run.output.data(_plan_facts(plan))
        return
    run.closing.enter_context(alone(folder))
    keep(request, folder)
    with run.output.progress() as report:
        made = request.make(plan, report)
    _show_export(made, run.output)
    if check:
        _pack(run, made, request, force)
    elif run.output.json:
        run.output.data(_export_facts(made))


@app.command("check")
@common
def check(run: Run, folder: Folder, source: Moved = None) -> None:
    """Check a model folder against its checkpoint: tokens, template, logits, greedy answers, the memory skill."""
    made, request = _made(run, folder, source)
    verdicts = _verify(run, made, request)
    if run.output.json:
        run.output.data({"folder": folder, "checks": [_verdict_facts(one) for one in verdicts]})
    if not all(one.passed for one in verdicts):
        raise typer.Exit(1)


@app.command("pack")
@common
def pack(run: Run, folder: Folder, source: Moved = None, force: Force = False) -> None:
    """Put the model folder together again, from what was made and checked."""
    made, request = _made(run, folder, source)
    _pack(run, made, request, force)


def _made(run: Run, folder: Path, source: Path | None) -> tuple[Export, Request]:
    """What an earlier `export gguf` made in `folder`; what has gone since is made again."""
    from .busy import alone
    from .request import kept

    request = kept(folder, source)
    need(*(HEAVY if request.format == "onnx" else LIGHT))
    run.closing.enter_context(alone(folder))
    plan = request.plan(folder)
    with run.output.progress() as report:
        return request.make(plan, report), request


def _verify(run: Run, made: Export, request: Request) -> list[Verdict]:
    from .verify.run import verify

    with run.output.progress() as report:
        verdicts = verify(made, request.how, report)
    for verdict in verdicts:
        for one in verdict.checks:
            run.output.text(
                f"{verdict.name:8} {one.name:10} {_styled(run.output, one.status)} {_measures(one)}".rstrip()
            )
    return verdicts


def _pack(run: Run, made: Export, request: Request, force: bool) -> None:
    from edgemem.cli.open import places_for

    from .pack import pack

    verdicts = _verify(run, made, request)
    packed = pack(made, verdicts, request.how, force=force, cards=places_for(run).config / "models")
    for name, reasons in packed.refused.items():
        run.output.warn(f"{name} is left out: {'; '.join(reasons)} (--force keeps it, marked)")
    if run.output.json:
        facts = {"checks": [_verdict_facts(one) for one in verdicts], "refused": packed.refused, "card": packed.card}
        run.output.data(_export_facts(made) | facts)
    run.output.text(f"edgemem chat --model {made.plan.name}   or   --model {packed.folder}")


def _styled(out: Output, status: str) -> str:
    return out.styled(status, {"passed": "green", "failed": "red"}.get(status, "dim"))


def _measures(check: Check) -> str:
    shown = {
        "tokenizer": ("texts", "different"),
        "template": ("chats", "different"),
        "torch": ("max_difference", "greedy_equal"),
        "adapter": ("prompts", "top1"),
        "logits": ("kl", "top1", "perplexity"),
        "skill": ("kept", "planted", "wrong_lines", "own_notes", "seconds"),
    }.get(check.name, ())
    values = " ".join(f"{key} {check.measured[key]}" for key in shown if key in check.measured)
    return f"{values} {check.reason}".strip()


def _verdict_facts(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict) | {"passed": verdict.passed, "reasons": verdict.reasons}


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
        "adapter": "kept" if plan.keep_adapter else "merged" if plan.lora else None,
        "notes": plan.notes,
    }


def _show_export(made: Export, out: Output) -> None:
    rows = [
        (one.name, size(one.size_bytes), _types(one.types), f"{one.made.seconds:.1f} s", one.made.path.name)
        for one in made.files
    ]
    out.table(("", "size", "matrices", "made in", "file"), rows)
    for one in made.files:
        if one.fallbacks:
            kinds = sorted(set(one.fallbacks.values()))
            out.warn(f"{one.name}: {len(one.fallbacks)} matrices are {', '.join(kinds)}, since their rows do not fit")
    out.note(f"peak memory {size(made.peak_rss_bytes)} (estimated {size(made.plan.ram_bytes)})")


def _export_facts(made: Export) -> dict[str, Any]:
    return _plan_facts(made.plan) | {"peak_rss_bytes": made.peak_rss_bytes, "files": _file_facts(made)}


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
