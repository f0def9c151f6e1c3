"""The model folder: what passed its checks, a manifest, a model card for the hub, a card for edgemem, the licence.

The same export gives the same bytes: nothing here holds a time, a path of this machine or how long something took.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgemem.catalogue.cards import parse_card
from edgemem.catalogue.digests import sha256_of
from edgemem.errors import EdgememError
from edgemem.prompting.prompts import load_prompts
from edgemem.store.files import translated

from .model_card import model_card
from .quantizations import sort
from .run import Export, Quantized, tool_versions
from .steps import write_text
from .verify.kept import How
from .verify.values import Verdict

FORMAT = 1
LEFT_OUT = {"seconds", "path"}
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "NOTICE")
CONTEXT_BYTES = 600 << 20
"""What a chat takes beside the weights: the cache of 10,240 tokens of a 4B, buffers, the process."""


class Refused(EdgememError):
    """No quantization passed its checks, so there is nothing to pack."""

    code = "export_refused"
    exit_code = 16


@dataclass(frozen=True)
class Packed:
    """The finished folder. `refused` are quantizations that are not in it, with their reasons."""

    folder: Path
    manifest: dict[str, Any]
    refused: dict[str, list[str]]
    card: Path | None


def pack(
    made: Export, verdicts: Sequence[Verdict], how: How, *, force: bool = False, cards: Path | None = None
) -> Packed:
    """Put the folder together; `cards` is the folder for a card of the user's (None: none is written).

    A quantization that failed a check stays out, unless `force`: then it is in and marked. Raises Refused where none
    is left or the conversion itself is wrong, StoreWriteFailed.
    """
    verdicts = list(verdicts)
    _check_base(made, verdicts, force)
    by_name = {verdict.name: verdict for verdict in verdicts[1:]}
    refused = {name: verdict.reasons for name, verdict in by_name.items() if not verdict.passed}
    kept = [one for one in made.files if force or one.name not in refused]
    if not kept:
        reasons = "; ".join(f"{name}: {' and '.join(why)}" for name, why in refused.items())
        raise Refused(
            f"no quantization passed its checks. {reasons}.", "Use a better one, or --force to keep it, marked."
        )
    folder = made.plan.out
    manifest = build_manifest(made, verdicts, how, [one.name for one in kept])
    with translated(folder):
        _copy_texts(made, how, folder)
        for one in made.files:
            for path in one.files:
                target = folder / shown_name(one, path)
                if one not in kept:
                    target.unlink(missing_ok=True)
                else:
                    target.parent.mkdir(exist_ok=True)
                    _link(path, target)
        if made.adapter:
            _link(made.adapter.path, folder / made.adapter.path.name)
        write_text(folder / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
        write_text(folder / "README.md", model_card(manifest))
        card = edgemem_card(manifest, folder, absolute=False)
        write_text(folder / "card.toml", card)
        made.base.path.unlink(missing_ok=True)
    return Packed(folder, manifest, {} if force else refused, _users_card(manifest, folder, cards))


def _check_base(made: Export, verdicts: Sequence[Verdict], force: bool) -> None:
    if not verdicts[0].passed and not force:
        reasons = "; ".join(verdicts[0].reasons)
        raise Refused(f"{made.plan.name} was not converted faithfully. {reasons}.", "Please report this checkpoint.")


def build_manifest(made: Export, verdicts: Sequence[Verdict], how: How, kept: Sequence[str]) -> dict[str, Any]:
    """What was made of what, by which tools, and what the checks measured."""
    plan, network = made.plan, made.plan.network
    by_name = {verdict.name: verdict for verdict in verdicts[1:]}
    files = {one.name: one for one in made.files}
    return {
        "format": FORMAT,
        "name": plan.name,
        "source": {
            "name": plan.source_name,
            "sha256": made.source,
            "licence": source_licence(plan.checkpoint.folder),
            "architecture": network.architecture,
            "parameters": plan.checkpoint.parameters,
            "precision": plan.base,
        },
        "context_tokens": network.context_tokens,
        "policy": how.policy,
        "thresholds": dict(how.thresholds),
        "prompts": "prompts" if how.prompts else "",
        "prompt_digest": load_prompts(how.prompts).digest,
        "tools": tool_versions(),
        "command": _command(made, how),
        "imatrix": {"file": made.imatrix.name, "sha256": sha256_of(made.imatrix)} if made.imatrix else None,
        "base_checks": _checks(verdicts[0]),
        "variants": [
            {
                "quantization": name,
                "format": files[name].format,
                "files": [*(_file(files[name], path) for path in files[name].files), *_adapter(made)],
                "ram_bytes": files[name].size_bytes + sum(one["size_bytes"] for one in _adapter(made)) + CONTEXT_BYTES,
                "types": files[name].types,
                "fallbacks": files[name].fallbacks,
                "passed": by_name[name].passed,
                "reasons": by_name[name].reasons,
                "checks": _checks(by_name[name]),
            }
            for name in sort(kept)
        ],
        "refused": {name: one.reasons for name, one in by_name.items() if name not in kept},
    }


def shown_name(one: Quantized, path: Path) -> str:
    """Where a file stands in the model folder: an ONNX folder keeps its files together."""
    return f"{one.made.path.name}/{path.name}" if one.format == "onnx" else path.name


def _file(one: Quantized, path: Path) -> dict[str, Any]:
    sha256 = sha256_of(path) if one.format == "onnx" else one.made.sha256
    return {"file": shown_name(one, path), "size_bytes": path.stat().st_size, "sha256": sha256}


def _adapter(made: Export) -> list[dict[str, Any]]:
    if made.adapter is None:
        return []
    path = made.adapter.path
    size = path.stat().st_size
    return [{"file": path.name, "size_bytes": size, "sha256": made.adapter.sha256, "adapter": True}]


def _checks(verdict: Verdict) -> list[dict[str, Any]]:
    checks = []
    for check in verdict.checks:
        found = asdict(check)
        found["measured"] = {key: value for key, value in found["measured"].items() if key not in LEFT_OUT}
        checks.append(found)
    return checks


def _command(made: Export, how: How) -> str:
    words = [
        f"edgemem export {made.files[0].format}",
        made.plan.source_name,
        "--quant",
        ",".join(made.plan.quantizations),
    ]
    words += ["--lora", "ADAPTER"] if made.plan.lora else []
    words += ["--exporter", made.plan.exporter] if made.plan.exporter != "genai" else []
    words += ["--keep-adapter"] if made.plan.keep_adapter else []
    usual = made.plan.origin.partition("@")[0].rpartition("/")[2] or made.plan.checkpoint.name
    words += ["--name", made.plan.name] if made.plan.name != usual else []
    words += ["--imatrix", "FILE" if made.imatrix.parent != made.plan.out else "own"] if made.imatrix else []
    words += ["--policy", how.policy] if how.policy != "edits" else []
    return " ".join(words + (["--prompts", "prompts"] if how.prompts else []))


def source_licence(folder: Path) -> str:
    """The licence that the checkpoint's own model card names, '' where it names none."""
    try:
        head = (folder / "README.md").read_text("utf-8")[:4096]
    except (OSError, UnicodeDecodeError):
        return ""
    front = re.match(r"---\n(.*?)\n---", head, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.-]{1,40})", front[1], re.MULTILINE) if front else None
    return found[1] if found else ""


def _copy_texts(made: Export, how: How, folder: Path) -> None:
    for name in LICENCES:
        if (made.plan.checkpoint.folder / name).is_file():
            shutil.copyfile(made.plan.checkpoint.folder / name, folder / name)
    if how.prompts and Path(how.prompts).resolve() != (folder / "prompts").resolve():
        (folder / "prompts").mkdir(exist_ok=True)
        for path in sorted(Path(how.prompts).glob("*.txt")):
            shutil.copyfile(path, folder / "prompts" / path.name)


def _link(source: Path, target: Path) -> None:
    """The file in two folders without a second copy of its bytes, where the disk can do that."""
    if source == target:
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def edgemem_card(manifest: dict[str, Any], folder: Path, *, absolute: bool) -> str:
    """The card (docs/formats.md) of the first variant; paths are relative to `folder` or absolute."""
    best = manifest["variants"][0]
    where = f"{folder.resolve().as_posix()}/" if absolute else ""
    lines = [
        f"title = {_toml(manifest['name'] + ', ' + best['quantization'])}",
        f"licence = {_toml(manifest['source']['licence'])}",
        'kind = "chat"',
        f"context_tokens = {manifest['context_tokens']}",
        f"policy = {_toml(manifest['policy'])}",
        f"ram_bytes = {best['ram_bytes']}",
        f"notes = {_toml('Made by edgemem export; what was checked is in manifest.json.')}",
    ]
    lines += [f"prompts = {_toml(where + manifest['prompts'])}"] if manifest["prompts"] else []
    if manifest["thresholds"]:
        lines += ["", "[thresholds]"] + [f"{key} = {value}" for key, value in sorted(manifest["thresholds"].items())]
    for file in best["files"]:
        lines += ["", "[[files]]", f"path = {_toml(where + file['file'])}", f"size = {file['size_bytes']}"]
        lines += [f"sha256 = {_toml(file['sha256'])}"]
        lines += ["adapter = true"] if file.get("adapter") else []
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    """A TOML string: JSON's is one, but for characters that TOML wants escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _users_card(manifest: dict[str, Any], folder: Path, cards: Path | None) -> Path | None:
    if cards is None:
        return None
    text = edgemem_card(manifest, folder, absolute=True)
    path = cards / f"{manifest['name']}.toml"
    parse_card(manifest["name"], text, path)
    with translated(path):
        cards.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(path, text)
    return path
