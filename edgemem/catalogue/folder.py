"""A model folder made by `edgemem export`: its card, and which of its quantizations fits this machine.

`card.toml` says how the model is used, `manifest.json` which variants there are, best first. Both are looked at as
strangers' files. Loads no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgemem.catalogue.cards import FILE, SHA256, Card, CardFile, parse_card
from edgemem.errors import ModelDamaged, ModelUnsupported
from edgemem.machine import memory_bytes

MAX_BYTES = 4 << 20
RAM_SHARE = 0.6
"""Of the machine's memory: what a model may take beside the other programs."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One quantization: its files (the first one is what an engine opens) and what it takes in RAM."""

    quantization: str
    files: tuple[CardFile, ...]
    ram_bytes: int
    passed: bool

    @property
    def is_gguf(self) -> bool:
        return self.files[0].path.endswith(".gguf")


def is_model_folder(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and (folder / "card.toml").is_file()


def folder_card(folder: Path, ram_bytes: int | None = None) -> Card:
    """The card of the folder, with the variant that fits a machine of `ram_bytes` (default: this one).

    Raises ModelUnsupported (no folder of ours), ModelDamaged, InvalidInput (the card).
    """
    if not is_model_folder(folder):
        raise ModelUnsupported(
            f"{folder} is a folder without manifest.json and card.toml.",
            "Give the path of a .gguf file, or a folder made by: edgemem export gguf",
        )
    card = parse_card(folder.name, _text(folder / "card.toml"), folder / "card.toml", own=True)
    chosen, why = choose(read_variants(folder), memory_bytes()[0] if ram_bytes is None else ram_bytes)
    return replace(card, files=chosen.files, ram_bytes=chosen.ram_bytes, notes=f"{why} {card.notes}".strip())


def choose(variants: Sequence[Variant], ram_bytes: int) -> tuple[Variant, str]:
    """The best variant that passed its checks and fits, and why it was chosen in words."""
    sound = [one for one in variants if one.passed] or list(variants)
    most = int(ram_bytes * RAM_SHARE)
    for one in sound:
        if one.ram_bytes <= most:
            share = f"{one.ram_bytes / 1e9:.1f} GB of the {ram_bytes / 1e9:.1f} GB here"
            return one, f"{one.quantization}: the best that fits ({share})."
    least = min(sound, key=lambda one: one.ram_bytes)
    return least, f"{least.quantization}: the smallest; it needs {least.ram_bytes / 1e9:.1f} GB, which may be too much."


def read_variants(folder: Path) -> list[Variant]:
    """The variants of a folder's manifest, best first. Raises ModelDamaged."""
    path = folder / "manifest.json"
    try:
        found = json.loads(_text(path))
        variants = [_variant(folder, one) for one in found["variants"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelDamaged(f"{path} is no manifest of ours: {error!r}.", "Export the model again.") from error
    if not variants:
        raise ModelDamaged(f"{path} names no variant.", "Export the model again.")
    return variants


def _variant(folder: Path, found: Mapping[str, Any]) -> Variant:
    files = tuple(_file(folder, file) for file in found["files"])
    if not files:
        raise ValueError("a variant without files")
    return Variant(str(found["quantization"])[:40], files, int(found["ram_bytes"]), found["passed"] is True)


def _file(folder: Path, found: Mapping[str, Any]) -> CardFile:
    name, digest = found["file"], found["sha256"]
    if not isinstance(name, str) or not FILE.fullmatch(name) or not SHA256.fullmatch(digest):
        raise ValueError(f"the file {name!r}")
    adapter = found.get("adapter", False) is True
    return CardFile(name, int(found["size_bytes"]), digest, path=str(folder / name), adapter=adapter)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelDamaged(f"{path} is too large.", "Export the model again.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.", "Export the model again.") from error
