"""From a model's name to a loaded engine: catalogue, GGUF check, digest, engine, prompts. Ties L2 parts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.engines import DEFAULT_CONTEXT_TOKENS, open_engine
from edgemem.prompting.prompts import Prompts, load_prompts

if TYPE_CHECKING:
    from edgemem.engines.base import Engine
    from edgemem.places import Places

SCRIPTED = "scripted:"
FLOAT_FILE_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class OpenedModel:
    """A loaded engine with what its card says about using it."""

    engine: Engine
    prompts: Prompts
    policy: str
    thresholds: Mapping[str, float] = field(default_factory=dict)


def tunings_folder(where: Places) -> Path:
    """Where the results of self-tests are kept."""
    return where.cache / "tuning"


def open_model(
    model: str,
    *,
    where: Places,
    device: str = "auto",
    gpu_layers: int | None = None,
    context_tokens: int | None = None,
    threads: int | None = None,
    offline: bool = False,
    persist: bool = True,
    tune: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> OpenedModel:
    """Load `model`: a card's name, a `.gguf` path, `org/repo:QUANT`, or `scripted:FILE.json`. Never downloads.

    With `tune` a self-test of some seconds finds out at the first use of a model what is fastest on this machine (not
    where nothing may `persist`: then only what is known already is used).
    The file's header is bounds-checked and its sha256 compared with the card before llama.cpp sees it.
    Raises ModelMissing, ModelDamaged, ModelUnsupported, EngineFailed, InvalidInput.
    """
    if model.startswith(SCRIPTED):
        engine = open_engine(Path(model.removeprefix(SCRIPTED)).with_suffix(".json"))
        return OpenedModel(engine, load_prompts(), "edits")
    from edgemem.catalogue.gguf import check_gguf
    from edgemem.catalogue.resolve import resolve

    found = resolve(model, cache=where.cache, config=where.config, offline=offline, persist=persist, progress=progress)
    card = found.card
    header = check_gguf(found.path) if found.path.suffix != ".onnx" else None
    limits = (card.context_tokens if card else 0, header.context_tokens if header else 0)
    known = [limit for limit in limits if limit]
    wanted = context_tokens or min([DEFAULT_CONTEXT_TOKENS, *known])
    engine = open_engine(
        found.path,
        digest=found.digest,
        device=device,
        gpu_layers=gpu_layers,
        context_tokens=wanted,
        threads=threads,
        quantized=header is None or header.file_type not in FLOAT_FILE_TYPES,
        adapter=found.adapter,
        tunings=tunings_folder(where) if tune else None,
        may_test=persist,
        progress=progress,
    )
    if card is None:
        return OpenedModel(engine, load_prompts(), "edits")
    return OpenedModel(engine, load_prompts(card.prompts), card.policy, card.thresholds)
