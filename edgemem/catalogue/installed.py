"""Which models are on this machine, and removing them. Knows cards and cache; touches no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgemem.catalogue import hub
from edgemem.catalogue.cards import Card, cards, find_card
from edgemem.catalogue.resolve import cached_place, place_of
from edgemem.catalogue.storage import gguf_places, hub_cache
from edgemem.errors import InvalidInput, ModelMissing


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model whose files are all here. `name` is what `resolve` takes, `size_bytes` that of all its files."""

    name: str
    path: Path
    size_bytes: int
    repo: str = ""
    revision: str = ""
    card: Card | None = None


def installed(config: Path | None = None) -> list[InstalledModel]:
    """Models of the catalogue first, then every other .gguf file in the hub's cache."""
    known = [model for card in cards(config).values() if (model := installed_card(card))]
    paths = {model.path for model in known}
    others = [
        InstalledModel(f"{place.repo}/{place.file}", place.pointer, _size(place.pointer), place.repo, place.revision)
        for place in gguf_places(hub_cache())
        if place.pointer not in paths
    ]
    return known + others


def installed_card(card: Card) -> InstalledModel | None:
    """The model of `card` if all its files are here."""
    paths = [Path(file.path) if file.path else place_of(card, file).pointer for file in card.files]
    if not paths or not all(path.is_file() for path in paths):
        return None
    return InstalledModel(card.name, paths[0], sum(map(_size, paths)), card.repo, card.revision, card)


def partial_bytes(card: Card) -> int:
    """Bytes of an unfinished download of `card`."""
    partials = [place_of(card, file).partial(file.sha256) for file in card.files if not file.path]
    return sum(_size(path) for path in partials if path.exists())


def remove(name: str, *, config: Path | None = None, dry_run: bool = False) -> int:
    """Delete a model's files, finished or not, from the hub's cache; returns the bytes freed (or that would be).

    Other files of the same repository stay. Raises ModelMissing, and InvalidInput for a file outside the cache.
    """
    card = find_card(name, config)
    if card is None:
        found = cached_place(name, config)
        places = [found] if found else []
    else:
        if any(file.path for file in card.files):
            raise InvalidInput(f"{name} is a file of your own.", "Delete the file and the card yourself.")
        places = [place_of(card, file) for file in card.files]
    there = [place for place in places if place.pointer.exists() or place.pointer.is_symlink()]
    partials = _partials(card)
    if not there and not partials:
        raise ModelMissing(f"{name} is not on this machine.", "edgemem model list shows what there is.")
    freed = sum(map(_size, partials))
    if not dry_run:
        for path in partials:
            path.unlink()
    return freed + (hub.remove_files(there, dry_run=dry_run) if there else 0)


def _partials(card: Card | None) -> list[Path]:
    files = card.files if card else ()
    paths = [place_of(card, file).partial(file.sha256) for file in files if card and not file.path]
    return [path for path in paths if path.exists()]


def _size(path: Path) -> int:
    return path.stat().st_size
