"""From what a person writes for a model to a file that may be loaded.

A model is written as a card's name, a path to a .gguf or to a folder made by `export`, `org/repo:QUANT`,
`org/repo/file.gguf`, each also with `hf.co/` before it. Nothing is downloaded unless asked for. Knows cards, cache and
hub; does not load models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from edgemem.catalogue import hub
from edgemem.catalogue.cards import REPO, Card, CardFile, cards, engine_digest, find_card
from edgemem.catalogue.digests import Digests, Progress, repair_hint
from edgemem.catalogue.fetch import Wanted, fetch
from edgemem.catalogue.folder import folder_card
from edgemem.catalogue.gguf import check_gguf
from edgemem.catalogue.storage import Place, gguf_places_of, hub_cache
from edgemem.errors import DownloadFailed, InvalidInput, ModelDamaged, ModelMissing

DEFAULT_QUANT = "Q4_K_M"
HUB_PREFIX = re.compile(r"(?:https?://)?(?:hf\.co|huggingface\.co)/", re.IGNORECASE)
QUANT = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model's main file on this machine.

    `sha256` is that of its bytes; `verified` says that it is also the one that a card or the hub promised. `spec`
    resolves to it again; `revision` is the hub's commit ("" for a path). `adapter` is to be loaded beside it, and
    `digest` names both.
    """

    spec: str
    path: Path
    sha256: str
    verified: bool
    card: Card | None = None
    repo: str = ""
    revision: str = ""
    adapter: Path | None = None
    adapter_sha256: str = ""

    @property
    def digest(self) -> str:
        return engine_digest(self.sha256, self.adapter_sha256)


@dataclass(frozen=True, slots=True)
class _Options:
    digests: Digests
    config: Path | None
    hub_cache: Path
    offline: str  # why there is no network, "" when there may be
    download: bool
    progress: Progress | None


def resolve(
    spec: str,
    *,
    cache: Path,
    config: Path | None = None,
    offline: bool = False,
    download: bool = False,
    progress: Progress | None = None,
    persist: bool = True,
) -> ModelFile:
    """The model that `spec` names, its digest compared with the promised one (once, then remembered in `cache`).

    `config` is the folder with a person's own cards, `persist=False` writes no digests. The network is used only
    with `download`, and never with `offline` or HF_HUB_OFFLINE. Raises InvalidInput, ModelMissing, ModelDamaged,
    ModelUnsupported, DownloadFailed.
    """
    options = _Options(
        Digests(cache, persist),
        config,
        hub_cache(),
        hub.no_network(offline=offline),
        download,
        progress,
    )
    spec = spec.strip()
    if not spec or any(ord(letter) < 32 for letter in spec):
        raise InvalidInput("The name of the model is empty or holds control characters.", "See: edgemem model list")
    hub_spec = HUB_PREFIX.sub("", spec, count=1)
    if hub_spec == spec:
        if card := find_card(spec, config):
            return _card_file(card, options)
        folder = Path(spec).expanduser().absolute()
        if folder.is_dir():
            return replace(_card_file(folder_card(folder), options), spec=str(folder))
        if _is_path(spec):
            return _path_file(spec, options)
    return _hub_file(hub_spec, spec, options)


def pull(
    spec: str,
    *,
    cache: Path,
    config: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> ModelFile:
    """Download what `spec` names, if it is not there yet. Raises like `resolve`."""
    return resolve(spec, cache=cache, config=config, offline=offline, download=True, progress=progress)


def place_of(card: Card, file: CardFile) -> Place:
    """Where a card's file is, or would be, in the cache."""
    return Place(hub_cache(), card.repo, card.revision, file.file)


def cached_place(spec: str, config: Path | None = None) -> Place | None:
    """The file in the hub's cache that `spec`, which names no card, stands for; None if it is not there.

    Raises InvalidInput for a path, ModelMissing for what cannot be a model's name.
    """
    hub_spec = HUB_PREFIX.sub("", spec.strip(), count=1)
    if hub_spec == spec and _is_path(spec):
        raise InvalidInput(f"{spec} is a file of your own.", "Delete it yourself.")
    repo, file, quant = _parts(hub_spec, spec, config)
    return next((item for item in gguf_places_of(hub_cache(), repo) if _fits(item.file, file, quant)), None)


def _card_file(card: Card, options: _Options) -> ModelFile:
    main = card.main
    paths = [_file_of(card, file, options) for file in card.files]
    for file, path in zip(card.files, paths, strict=True):
        if not file.sha256:  # a person's own card for a file on this machine
            continue
        found = path.stat().st_size
        if file.size_bytes and found < file.size_bytes:
            missing = file.size_bytes - found
            raise ModelDamaged(
                f"The file of {card.name} is cut off: {missing:,} of {file.size_bytes:,} bytes are missing.",
                repair_hint(card.name),
            )
        options.digests.verify(path, file.sha256, card.name, options.progress)
    digest = main.sha256 or _checked_digest(paths[0], options)
    model = ModelFile(card.name, paths[0], digest, bool(main.sha256), card, card.repo, card.revision)
    for file, path in zip(card.files, paths, strict=True):
        if file.adapter:
            check_gguf(path, kind="adapter", hint=repair_hint(card.name))
            sha256 = file.sha256 or options.digests.of(path, options.progress)
            return replace(model, adapter=path, adapter_sha256=sha256)
    return model


def _file_of(card: Card, file: CardFile, options: _Options) -> Path:
    if file.path:
        path = Path(file.path)
        if not path.is_file():
            raise ModelMissing(f"The card {card.name} names {path}, which is not there.", "Correct `path` in the card.")
        return path
    place = place_of(card, file)
    if place.pointer.is_file():
        return place.pointer
    command = f"edgemem model pull {card.name}"
    if options.offline:
        raise ModelMissing(
            f"{card.name} is not on this machine, and {options.offline}.", f"With a network once: {command}"
        )
    if not options.download:
        raise ModelMissing(f"{card.name} is not on this machine.", f"Download it: {command}")
    path = fetch(Wanted(card.name, place, file, on_hub=card.hub, as_main=not card.hub), options.progress)
    options.digests.remember(path, file.sha256)
    return path


def _is_path(spec: str) -> bool:
    if Path(spec).expanduser().exists():
        return True
    looks_local = spec.startswith((".", "/", "~", "\\")) or "\\" in spec
    return looks_local or (spec.lower().endswith(".gguf") and spec.count("/") < 2)


def _path_file(spec: str, options: _Options) -> ModelFile:
    path = Path(spec).expanduser().absolute()
    if not path.exists():
        raise ModelMissing(f"There is no file {path}.", "Check the path, or see: edgemem model list")
    return ModelFile(str(path), path, _checked_digest(path, options), verified=False)


def _checked_digest(path: Path, options: _Options, hint: str = "") -> str:
    """The digest of a file that nobody vouches for; its header is looked at unless these bytes passed before."""
    known = options.digests.known(path)
    if known:
        return known
    check_gguf(path, hint=hint)
    return options.digests.of(path, options.progress)


def _hub_file(hub_spec: str, spec: str, options: _Options) -> ModelFile:
    repo, file, quant = _parts(hub_spec, spec, options.config)
    place = next((item for item in gguf_places_of(options.hub_cache, repo) if _fits(item.file, file, quant)), None)
    if place is None:
        place = _downloaded(repo, file, quant, spec, options)
    expected = place.named_digest()
    path = place.pointer
    digest = _checked_digest(path, options, repair_hint(spec))
    if expected and digest != expected:
        options.digests.verify(path, expected, spec)
    return ModelFile(spec, path, digest, bool(expected), None, repo, place.revision)


def _parts(hub_spec: str, spec: str, config: Path | None) -> tuple[str, str, str]:
    """Repository, file, quantization; one of the last two is empty."""
    names = hub_spec.split("/")
    if len(names) >= 3 and hub_spec.lower().endswith(".gguf") and REPO.fullmatch("/".join(names[:2])):
        return "/".join(names[:2]), "/".join(names[2:]), ""
    repo, _, quant = hub_spec.partition(":")
    if REPO.fullmatch(repo) and QUANT.fullmatch(quant or DEFAULT_QUANT):
        return repo, "", quant or DEFAULT_QUANT
    near = get_close_matches(spec.lower(), list(cards(config)), n=3, cutoff=0.4)
    raise ModelMissing(
        f"There is no model '{spec}'." + (f" Did you mean {' or '.join(near)}?" if near else ""),
        f"edgemem model pull {near[0]}" if near else "edgemem model list shows what there is.",
    )


def _fits(name: str, file: str, quant: str) -> bool:
    if file:
        return name == file
    stem = name.rsplit("/", 1)[-1].lower().removesuffix(".gguf")
    if "mmproj" in stem or "imatrix" in stem:
        return False
    return re.search(rf"(?:^|[-._]){re.escape(quant.lower())}(?:[-._]|$)", stem) is not None


def _downloaded(repo: str, file: str, quant: str, spec: str, options: _Options) -> Place:
    if options.offline:
        raise ModelMissing(
            f"{spec} is not on this machine, and {options.offline}.",
            f"With a network once: edgemem model pull {spec}",
        )
    if not options.download:
        raise ModelMissing(f"{spec} is not on this machine.", f"Download it: edgemem model pull {spec}")
    try:
        revision, name = ("main", file) if file else _choose(repo, quant, spec)
        found = hub.look_up(repo, name, revision)
    except DownloadFailed as failure:
        hint = failure.hint or f"Check the network, then: edgemem model pull {spec}"
        raise DownloadFailed(f"{spec} could not be downloaded: {failure.message}.", hint) from failure
    if not found.sha256:
        raise DownloadFailed(f"The hub has no digest for {spec}, so it cannot be trusted.", "Choose another file.")
    place = Place(options.hub_cache, repo, found.revision, name)
    fetch(Wanted(spec, place, CardFile(name, found.size_bytes, found.sha256), as_main=True), options.progress)
    return place


def _choose(repo: str, quant: str, spec: str) -> tuple[str, str]:
    """The newest commit and the file for `quant` in it (or the only .gguf, when that is all there is)."""
    revision, names = hub.list_files(repo)
    models = [name for name in names if name.lower().endswith(".gguf") and "mmproj" not in name.lower()]
    fitting = sorted((name for name in models if _fits(name, "", quant)), key=lambda name: (len(name), name))
    if fitting or (len(models) == 1 and ":" not in spec.removeprefix("https://")):
        return revision, (fitting or models)[0]
    listed = ", ".join(models[:8]) + (" …" if len(models) > 8 else "")
    raise DownloadFailed(
        f"{repo} has no .gguf file for {quant}" + (f", only {listed}" if models else ""),
        "Name the file: org/repo/file.gguf" if models else "Choose a repository with .gguf files.",
    )
