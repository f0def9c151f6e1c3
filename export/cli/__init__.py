"""`edgemem export`: the commands. Parses, calls, prints.

Loaded at every start of edgemem, so whatever is heavy is imported where it is used.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.options import DryRun, Run, Yes, common
from edgemem.cli.output import size
from edgemem.errors import InvalidInput

from .shown import export_facts, measures, plan_facts, show_export, show_plan, styled, verdict_facts

if TYPE_CHECKING:
    from ..pack import Packed
    from ..push import Sending
    from ..request import Request
    from ..run import Export
    from ..source import Source as Checkpoint
    from ..verify.values import Verdict

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[str, typer.Argument(help="Folder of a checkpoint (safetensors), or org/repo@COMMIT on the hub.")]
Push = Annotated[str, typer.Option("--push", help="Send the packed folder to this repository (org/name); asks first.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the model; default: NAME-export here.")]
Name = Annotated[str, typer.Option("--name", help="Name of the model; default: that of the folder.")]
Lora = Annotated[Path | None, typer.Option("--lora", help="Folder of a LoRA adapter (peft) to add first.")]
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
    lora: Lora = None,
    keep_adapter: Annotated[
        bool, typer.Option("--keep-adapter", help="Keep the adapter a file of its own, loaded beside the base.")
    ] = False,
    prompts: Prompts = None,
    force: Force = False,
    check: Checked = True,
    push: Push = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Make quantized GGUF files of a checkpoint, check them and pack a model folder. Stop it any time, it goes on.

    Everything is checked before a byte is written; --dry-run stops there. --policy says how the model writes memory.
    """
    need(*LIGHT)
    from ..quantizations import parse
    from ..request import Request

    found = _source(run, source, dry_run)
    file = imatrix if imatrix in ("", "own") else _absolute(Path(imatrix))
    asked = Request(str(found.folder), name or found.name, parse(quant), file, _absolute(prompts), _policy(run))
    request = replace(asked, lora=_absolute(lora), keep_adapter=keep_adapter, origin=found.origin)
    folder = out or Path(f"{request.name}-export")
    _export_and_send(run, request, folder, push=push, yes=yes, dry_run=dry_run, check=check, force=force)


@app.command("onnx")
@common
def onnx(
    run: Run,
    source: Source,
    quant: Annotated[str, typer.Option("--quant", help="int4, int8, fp32, with commas.")] = "int4",
    out: Out = None,
    name: Name = "",
    lora: Lora = None,
    exporter: Annotated[str, typer.Option("--exporter", help="genai, or optimum (fp32, fetched when first used).")] = (
        "genai"
    ),
    prompts: Prompts = None,
    force: Force = False,
    check: Checked = True,
    push: Push = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Make ONNX folders of a checkpoint with onnxruntime-genai's builder, check them and pack a model folder.

    The weights go through one matrix at a time; --dry-run shows the estimate.
    """
    need(*HEAVY)
    from ..onnx_genai import parse
    from ..request import Request

    found = _source(run, source, dry_run)
    asked = Request(str(found.folder), name or found.name, parse(quant), "", _absolute(prompts), _policy(run), "onnx")
    request = replace(asked, lora=_absolute(lora), origin=found.origin, exporter=exporter)
    folder = out or Path(f"{request.name}-onnx-export")
    if exporter == "optimum" and not dry_run:
        request.plan(folder)  # what cannot be exported is refused before anything is fetched
        request = replace(request, optimum=_optimum(run))
    _export_and_send(run, request, folder, push=push, yes=yes, dry_run=dry_run, check=check, force=force)


def _absolute(path: Path | None) -> str:
    """A path as a request holds it; '' for none."""
    return str(path.absolute()) if path else ""


def _policy(run: Run, usual: str = "edits") -> str:
    return str(run.flags.get("policy") or usual)


def _optimum(run: Run) -> str:
    """The Python of optimum's environment, made if it is not there."""
    from edgemem.cli.open import places_for

    from ..onnx_optimum import environment

    with run.output.progress() as report:
        return str(environment(places_for(run).cache, offline=run.settings.offline, progress=report))


def _export_and_send(
    run: Run,
    request: Request,
    folder: Path,
    *,
    push: str,
    yes: bool,
    dry_run: bool,
    check: bool = True,
    force: bool = False,
) -> None:
    """What is sent is always checked."""
    sending = _sending(run, push)
    made = _export(run, request, folder, dry_run=dry_run, check=check or bool(push), force=force)
    if made and sending:
        _push(run, made, sending, yes)


def _export(run: Run, request: Request, folder: Path, *, dry_run: bool, check: bool, force: bool) -> Packed | None:
    from ..busy import alone
    from ..request import keep

    plan = request.plan(folder)
    show_plan(plan, run.output)
    if dry_run:
        if run.output.json:
            run.output.data(plan_facts(plan))
        return None
    run.closing.enter_context(alone(folder))
    keep(request, folder)
    with run.output.progress() as report:
        made = request.make(plan, report)
    show_export(made, run.output)
    if check:
        return _pack(run, made, request, force)
    if run.output.json:
        run.output.data(export_facts(made))
    return None


@app.command("recipe")
@common
def recipe(
    run: Run,
    name: Annotated[str, typer.Argument(help="A recipe: qwen3-4b-memory-agent.")],
    source: Annotated[str, typer.Argument(help="Your own checkpoint: a folder, or org/repo@COMMIT.")] = "",
    out: Out = None,
    prompts: Prompts = None,
    push: Push = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Make a model of ours by its recipe: fetch the checkpoint it names (or take yours), convert, check and pack."""
    need(*LIGHT)
    from ..recipe import open_recipe
    from ..request import Request

    wanted = open_recipe(name)
    found = _source(run, source or wanted.checkpoint, dry_run)
    texts = _absolute(prompts) or wanted.card.prompts
    asked = Request(str(found.folder), wanted.card.name, wanted.quantizations, wanted.imatrix, texts)
    request = replace(asked, policy=_policy(run, wanted.card.policy), origin=found.origin)
    folder = out or Path(f"{request.name}-export")
    wanted.check(request.plan(folder))
    _export_and_send(run, request, folder, push=push, yes=yes, dry_run=dry_run)


@app.command("ladder")
@common
def ladder(
    run: Run,
    source: Annotated[str, typer.Argument(help="A checkpoint, or a GGUF model of the catalogue (turned back first).")],
    quant: Annotated[str, typer.Option("--quant", help="Quantizations as GGUF, with commas; none for none.")] = "",
    onnx: Annotated[str, typer.Option("--onnx", help="Precisions as ONNX, with commas; none for none.")] = "",
    imatrix: Annotated[str, typer.Option("--imatrix", help="own: measured on our texts; or a file of one.")] = "",
    out: Out = None,
    prompts: Prompts = None,
) -> None:
    """Make many quantizations and compare them: sizes, checks, speed, memory. Stop it any time, it goes on.

    Writes ladder.jsonl and ladder.md into the folder. What fails the gate is said, and is no error here.
    """
    need(*LIGHT)
    from .. import ladder as made
    from ..busy import alone
    from ..verify.kept import How

    source_, dequantized = _checkpoint_or_model(run, source, out)
    folder = out or Path(f"{source_.name}-ladder")
    how = How(_absolute(prompts), _policy(run))
    names = _asked(quant, made.GGUF, "gguf"), _asked(onnx, made.ONNX, "onnx")
    made.check_names(imatrix, *names)
    asked = made.Ladder(source_.folder, folder, source_.name, *names, how, imatrix, source_.origin, dequantized)
    run.closing.enter_context(alone(folder))
    with run.output.progress() as report:
        rows = made.climb(asked, report)
    if run.output.json:
        run.output.data({"folder": folder, "rows": rows})
        return
    run.output.text((folder / made.TABLE).read_text("utf-8"))


def _asked(text: str, usual: tuple[str, ...], format_: str) -> tuple[str, ...]:
    from ..onnx_genai import parse as precisions
    from ..quantizations import parse

    missing = format_ == "onnx" and any(find_spec(name) is None for name in HEAVY)
    if text == "none" or (missing and not text):
        return ()
    if missing:
        need(*HEAVY)
    return (precisions if format_ == "onnx" else parse)(text) if text else usual


def _checkpoint_or_model(run: Run, text: str, out: Path | None) -> tuple[Checkpoint, str]:
    """The checkpoint that `text` names; of a GGUF of the catalogue or a path it is made first."""
    from edgemem.catalogue import find_card, resolve
    from edgemem.cli.open import places_for

    from ..ladder import dequantized
    from ..source import Source as Found

    where = places_for(run)
    if find_card(text, where.config) is None and not text.endswith(".gguf"):
        return _source(run, text, dry_run=False), ""
    with run.output.progress("bytes") as report:
        model = resolve(text, cache=where.cache, config=where.config, offline=run.settings.offline, progress=report)
    name = model.card.name if model.card else model.path.stem
    folder = out or Path(f"{name}-ladder")
    with run.output.progress() as report:
        return Found(dequantized(model.path, model.sha256, folder, name, report), name), model.path.name


@app.command("check")
@common
def check(run: Run, folder: Folder, source: Moved = None) -> None:
    """Check a model folder against its checkpoint: tokens, template, logits, greedy answers, the memory skill."""
    made, request = _made(run, folder, source)
    verdicts = _verify(run, made, request)
    if run.output.json:
        run.output.data({"folder": folder, "checks": [verdict_facts(one) for one in verdicts]})
    if not all(one.passed for one in verdicts):
        raise typer.Exit(1)


@app.command("pack")
@common
def pack(
    run: Run, folder: Folder, source: Moved = None, force: Force = False, push: Push = "", yes: Yes = False
) -> None:
    """Put the model folder together again, from what was made and checked."""
    sending = _sending(run, push)
    made, request = _made(run, folder, source)
    packed = _pack(run, made, request, force)
    if sending:
        _push(run, packed, sending, yes)


def _made(run: Run, folder: Path, source: Path | None) -> tuple[Export, Request]:
    """What an earlier `export gguf` made in `folder`; what has gone since is made again."""
    from ..busy import alone
    from ..request import kept

    request = kept(folder, source)
    need(*(HEAVY if request.format == "onnx" else LIGHT))
    run.closing.enter_context(alone(folder))
    plan = request.plan(folder)
    with run.output.progress() as report:
        return request.make(plan, report), request


def _verify(run: Run, made: Export, request: Request) -> list[Verdict]:
    from ..verify.run import verify

    with run.output.progress() as report:
        verdicts = verify(made, request.how, report)
    for verdict in verdicts:
        for one in verdict.checks:
            run.output.text(f"{verdict.name:8} {one.name:10} {styled(run.output, one.status)} {measures(one)}".rstrip())
    return verdicts


def _pack(run: Run, made: Export, request: Request, force: bool) -> Packed:
    from edgemem.cli.open import places_for

    from ..pack import pack

    verdicts = _verify(run, made, request)
    packed = pack(made, verdicts, request.how, force=force, cards=places_for(run).config / "models")
    for name, reasons in packed.refused.items():
        run.output.warn(f"{name} is left out: {'; '.join(reasons)} (--force keeps it, marked)")
    if run.output.json:
        facts = {"checks": [verdict_facts(one) for one in verdicts], "refused": packed.refused, "card": packed.card}
        run.output.data(export_facts(made) | facts)
    run.output.text(f"edgemem chat --model {made.plan.name}   or   --model {packed.folder}")
    return packed


def _source(run: Run, text: str, dry_run: bool) -> Checkpoint:
    from ..source import open_source

    with run.output.progress("bytes") as report:
        found = open_source(text, offline=run.settings.offline, download=not dry_run, progress=report)
    if found.origin:
        run.output.note(f"from {found.origin}")
    return found


def _sending(run: Run, repo: str) -> Sending | None:
    """Looked at before hours of work: where to and with whose token."""
    from ..push import sending

    return sending(repo, offline=run.settings.offline) if repo else None


def _push(run: Run, packed: Packed, sending: Sending, yes: bool) -> None:
    from edgemem.cli.ask_first import confirm

    from ..push import files_to_send, send

    files = files_to_send(packed)
    run.output.table(("sent", "size"), [(name, size(path.stat().st_size)) for name, path in files.items()])
    total = size(sum(path.stat().st_size for path in files.values()))
    confirm(run, f"Send these {len(files)} files ({total}) to {sending.repo}, {sending.seen_by}?", yes)
    run.output.note(f"sending {total} to {sending.repo}")
    run.output.text(send(packed, files, sending))
