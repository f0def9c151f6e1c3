"""`edgemem model`: which models there are, fetching, removing and choosing one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgemem.cli.open import places_for
from edgemem.cli.options import DryRun, Run, Yes, common
from edgemem.cli.output import size
from edgemem.errors import InvalidInput, ModelDamaged, ModelMissing
from edgemem.settings import write_user_value

if TYPE_CHECKING:
    from edgemem.catalogue import ModelFile

app = typer.Typer(help="List, fetch, remove and choose models.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Card name, .gguf path, org/repo:QUANT or org/repo/file.gguf.")]
OptionalName = Annotated[str | None, typer.Argument(help="As for pull, or a folder of export; without it your model.")]


@app.command("list")
@common
def list_models(run: Run) -> None:
    """List the models of the catalogue and those on this machine."""
    from edgemem.catalogue import cards, installed

    config = places_for(run).config
    here = installed(config)
    rows = [
        {
            "name": card.name,
            "title": card.title,
            "licence": card.licence,
            "kind": card.kind,
            "installed": any(model.card is not None and model.card.name == card.name for model in here),
            "size_bytes": card.size_bytes,
            "ram_bytes": card.ram_bytes,
        }
        for card in cards(config).values()
    ]
    rows += [
        {"name": model.name, "title": "", "licence": "", "kind": "chat", "installed": True}
        | {"size_bytes": model.size_bytes, "ram_bytes": 0}
        for model in here
        if model.card is None
    ]
    if run.output.json:
        run.output.data({"models": rows, "selected": run.settings.model})
        return
    run.output.table(("", "name", "file", "RAM", "what"), [_list_row(row, run.settings.model) for row in rows])
    run.output.note("✓ on this machine, * in use. Fetch one: edgemem model pull NAME; use it: edgemem model use NAME")


@app.command("pull")
@common
def pull(run: Run, name: OptionalName = None) -> None:
    """Download a model, resume where it stopped, and check its digest."""
    from edgemem.catalogue import pull

    where = places_for(run)
    wanted = name or run.settings.model
    with run.output.progress("bytes") as report:
        found = pull(wanted, cache=where.cache, config=where.config, offline=run.settings.offline, progress=report)
    if run.output.json:
        run.output.data(_facts(found))
        return
    run.output.note(f"{wanted}: {size(found.path.stat().st_size)}, sha256 {found.sha256[:16]}… {_checked(found)}")
    run.output.text(str(found.path))


@app.command("rm")
@common
def remove(run: Run, name: Name, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete a model's files from the Hugging Face cache, and the prompts that it computed."""
    from edgemem import kv_files
    from edgemem.catalogue import remove
    from edgemem.cli.ask_first import confirm

    config = places_for(run).config
    freed = remove(name, config=config, dry_run=True)
    computed = _computed_by(run, name)
    freed += sum(path.stat().st_size for path in computed)
    if not dry_run:
        confirm(run, f"Delete {name} ({size(freed)})?", yes)
        freed = remove(name, config=config) + kv_files.remove(computed)
    if run.output.json:
        run.output.data({"name": name, "freed_bytes": freed, "dry_run": dry_run})
        return
    run.output.text(f"{'would free' if dry_run else 'freed'} {size(freed)}")


@app.command("path")
@common
def path(run: Run, name: OptionalName = None) -> None:
    """Print where a model's file is on this machine."""
    found = _resolve(run, name or run.settings.model)
    if run.output.json:
        run.output.data(_facts(found))
    else:
        run.output.text(str(found.path))


@app.command("info")
@common
def info(run: Run, name: OptionalName = None) -> None:
    """Show what is known about a model: its card, and its file when it is here."""
    from edgemem.catalogue import check_gguf, find_card

    wanted = name or run.settings.model
    card = find_card(wanted, places_for(run).config)
    facts: dict[str, Any] = {"name": wanted, "card": asdict(card) if card else None, "file": None}
    try:
        found = _resolve(run, wanted)
    except ModelMissing:
        if card is None:
            raise
    else:
        facts["file"] = _facts(found)
        facts["card"] = facts["card"] or (asdict(found.card) if found.card else None)
        if found.path.suffix == ".gguf":
            facts["header"] = _header(asdict(check_gguf(found.path)))
    if run.output.json:
        run.output.data(facts)
        return
    for title, part in (("", facts["card"]), ("on this machine", facts["file"]), ("header", facts.get("header"))):
        _print_part(run, title, part)
    if facts["file"] is None:
        run.output.note(f"not on this machine; fetch it: edgemem model pull {wanted}")


@app.command("use")
@common
def use(run: Run, name: Name) -> None:
    """Use this model from now on (writes `model` into your settings file)."""
    from edgemem.catalogue import find_card

    where = places_for(run)
    if find_card(name, where.config) is None:
        found = _resolve(run, name)
        name = found.spec if Path(name).expanduser().exists() else name
    file = run.settings.user_file
    write_user_value(file, "model", name)
    if run.output.json:
        run.output.data({"model": name, "path": file})
        return
    run.output.text(f"{name} is used from now on ({file})")
    source = run.settings.sources["model"]
    if source != "default" and str(file) not in source:
        run.output.warn(f"the {source} still chooses {run.settings.model} here")


def _computed_by(run: Run, name: str) -> list[Path]:
    """Files of prompts that the model computed, of all users; none where its digest is not to be had."""
    from edgemem import kv_files
    from edgemem.catalogue import find_card
    from edgemem.store.user_store import kv_folders

    where = places_for(run)
    card = find_card(name, where.config)
    try:
        digest = card.digest if card and card.files else _resolve(run, name).digest
    except (ModelMissing, ModelDamaged):
        return []
    return kv_files.of_model([where.cache / "kv" / "prompts", *kv_folders(where.data)], digest)


def _resolve(run: Run, name: str) -> ModelFile:
    from edgemem.catalogue import resolve

    if name.startswith("scripted:"):
        raise InvalidInput(f"{name} is a list of answers, not a model file", "name a model: edgemem model list")
    where = places_for(run)
    with run.output.progress("bytes") as report:
        return resolve(name, cache=where.cache, config=where.config, offline=run.settings.offline, progress=report)


def _facts(found: ModelFile) -> dict[str, Any]:
    return {
        "spec": found.spec,
        "path": found.path,
        "sha256": found.sha256,
        "verified": found.verified,
        "size_bytes": found.path.stat().st_size,
        "adapter": found.adapter,
        "repo": found.repo,
        "revision": found.revision,
    }


def _header(header: dict[str, Any]) -> dict[str, Any]:
    """The header without the template's text, which fills screens."""
    return {key: f"{len(value)} characters" if key == "template" else value for key, value in header.items()}


def _checked(found: ModelFile) -> str:
    return "(as promised by the publisher)" if found.verified else "(nobody vouches for this file)"


def _list_row(row: dict[str, Any], selected: str) -> tuple[str, ...]:
    marks = ("✓" if row["installed"] else " ") + ("*" if row["name"] == selected else "")
    file = size(row["size_bytes"]) if row["size_bytes"] else "-"
    ram = size(row["ram_bytes"]) if row["ram_bytes"] else "-"
    return marks, row["name"], file, ram, row["title"] + (f" ({row['licence']})" if row["licence"] else "")


def _print_part(run: Run, title: str, part: dict[str, Any] | None) -> None:
    if not part:
        return
    if title:
        run.output.text(f"\n{run.output.styled(title, 'bold')}")
    for key, value in part.items():
        if value not in ("", None, (), {}, [], False):
            run.output.text(f"  {key}: {value}")
