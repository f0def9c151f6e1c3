"""What an export starts from: a folder here, or a checkpoint on the hub at a commit. Of a repository only safetensors
and texts are fetched; pickle files and code never.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgemem.catalogue import hub
from edgemem.catalogue.cards import REPO, REVISION
from edgemem.catalogue.repository import AGAIN, commit_of, fetch_files
from edgemem.catalogue.resolve import HUB_PREFIX
from edgemem.errors import DownloadFailed, InvalidInput, ModelUnsupported

from .apart import Progress
from .architecture import network_of
from .checkpoint import INDEX, PICKLES, read_json
from .vocabulary import read_vocabulary

CONFIGS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
TEXTS = (*CONFIGS, INDEX, "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "NOTICE")
NAMED = re.compile(r"[\w][\w./-]{0,99}")


@dataclass(frozen=True, slots=True)
class Source:
    """The folder of a checkpoint, a short name for it, and (hub only) where it comes from: `org/repo@commit`."""

    folder: Path
    name: str
    origin: str = ""


def open_source(text: str, *, offline: bool = False, download: bool = True, progress: Progress | None = None) -> Source:
    """The checkpoint that `text` names: a folder, or `org/repo`, `org/repo@REVISION`, also with hf.co/ before it.

    What is on the hub is fetched into the hub's cache, unless `download` is False: then only small texts are.
    Raises InvalidInput, DownloadFailed, ModelMissing, ModelUnsupported, ModelDamaged.
    """
    folder = Path(text).expanduser()
    short = HUB_PREFIX.sub("", text, count=1)
    repo, _, revision = short.partition("@")
    if folder.exists() or not REPO.fullmatch(repo) or text.startswith((".", "/", "~")):
        return Source(folder.absolute(), folder.resolve().name)
    if revision and not NAMED.fullmatch(revision):
        raise InvalidInput(f"{revision[:80]!r} is no revision", "write it as org/repo@COMMIT")
    try:
        return _from_hub(repo, revision, hub.no_network(offline=offline), download, progress)
    except DownloadFailed as failure:
        raise DownloadFailed(f"{repo} could not be fetched: {failure.message}.", failure.hint or AGAIN) from failure


def _from_hub(repo: str, revision: str, offline: str, download: bool, progress: Progress | None) -> Source:
    commit, names = commit_of(repo, revision, offline=offline)
    if not REVISION.fullmatch(commit):
        raise DownloadFailed(f"the hub names no commit for {revision or 'the newest revision'}")
    weights = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    _refuse_pickles(repo, names, weights)
    source = Source(Path(), repo.split("/")[1], f"{repo}@{commit}")
    main = revision in ("", "main")
    texts = [name for name in TEXTS if name in names]
    folder = fetch_files(repo, commit, [] if offline else texts, as_main=main, progress=progress)
    _look_at_texts(repo, folder)
    weights = _needed(folder, weights)
    missing = [name for name in weights if not (folder / name).is_file()]
    if missing and not download:
        raise InvalidInput(
            f"the weights of {repo} ({len(missing)} files) are not here, and --dry-run fetches none",
            "leave --dry-run out: everything else that is checked before they are fetched is fine",
        )
    if missing and not offline:
        fetch_files(repo, commit, weights, as_main=main, progress=progress)
    return Source(folder, source.name, source.origin)


def _needed(folder: Path, weights: list[str]) -> list[str]:
    """The files that the index names, where there is one: a repository may hold the weights twice."""
    if not (folder / INDEX).is_file():
        return weights
    found = read_json(folder / INDEX).get("weight_map")
    named = set(map(str, found.values())) if isinstance(found, dict) else set()
    return [name for name in weights if name in named] or weights


def _refuse_pickles(repo: str, names: list[str], weights: list[str]) -> None:
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if not weights and pickles:
        raise ModelUnsupported(
            f"{repo} has its weights in pickle files only ({pickles[0][:80]}): opening one runs code of its author.",
            "Choose a repository with *.safetensors.",
        )
    if not weights:
        raise ModelUnsupported(
            f"{repo} has no *.safetensors file.", "Choose the original checkpoint, not a GGUF of it."
        )


def _look_at_texts(repo: str, folder: Path) -> None:
    """Refuse what cannot work before gigabytes are fetched."""
    if not (folder / "config.json").is_file():
        raise ModelUnsupported(f"{repo} has no config.json.", "Choose a checkpoint in the form of transformers.")
    network = network_of(read_json(folder / "config.json"))
    read_vocabulary(folder, network.vocabulary)
