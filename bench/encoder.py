"""Sentences as vectors: all-MiniLM-L6-v2 (card `minilm-l6`) on the CPU. Home of onnxruntime and tokenizers here.

Mean of the token vectors that are no padding, normalised to length 1, as the model was trained to be read (Reimers and
Gurevych 2019, section 3). Longer texts are cut to 256 tokens, the card's context.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .values import CannotRun

CARD = "minilm-l6"
LONGEST = 256
BATCH = 16
MISSING = f"{CARD} is not on this machine: edgemem model pull {CARD}"
Vectors = NDArray[np.float32]


class Encoder:
    """The model in `folder` (`model.onnx`, `tokenizer.json`). `open_encoder` makes one."""

    def __init__(self, tokenizer: Any, session: Any) -> None:
        self._tokenizer, self._session = tokenizer, session
        self._inputs = [item.name for item in session.get_inputs()]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row of 384 numbers for each text, each of length 1."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # little padding in a batch
        found = np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            found[places] = self._batch([texts[place] for place in places])
        return found

    def _batch(self, texts: list[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        given = {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        vectors = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        if vectors.ndim == 3:  # one vector per token
            weights = mask[:, :, None].astype(np.float32)
            vectors = (vectors * weights).sum(axis=1) / weights.sum(axis=1)
        normalised: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normalised


@lru_cache(maxsize=1)
def open_encoder(folder: Path | None) -> Encoder:
    """Raises CannotRun where the files or the libraries (extra `bench`) are missing."""
    if folder is None:
        raise CannotRun(MISSING)
    try:
        import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from tokenizers import Tokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise CannotRun(f"{error.name} is not installed: pip install 'edgemem-runtime[bench]'") from error
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the language model shares the cores
    return Encoder(tokenizer, onnxruntime.InferenceSession(str(folder / "model.onnx"), options))


@lru_cache(maxsize=8)
def _encoded(texts: tuple[str, ...], folder: Path | None) -> Vectors:
    return open_encoder(folder).encode(texts)


def nearest(texts: Sequence[str], query: str, folder: Path | None) -> list[int]:
    """Places of the texts, the nearest to the query first. Raises CannotRun."""
    likeness = _encoded(tuple(texts), folder) @ open_encoder(folder).encode([query])[0]
    return sorted(range(len(texts)), key=lambda place: (-float(likeness[place]), -place))
