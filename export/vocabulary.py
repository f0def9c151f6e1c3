"""A checkpoint's tokenizer and chat template in the form that GGUF has for them. Byte-level BPE only.

What llama.cpp would tokenize differently is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from edgemem.errors import ModelDamaged, ModelUnsupported

from .checkpoint import read_json

_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PRE_TOKENIZERS = {_ENDINGS + _WORDS % "": "qwen2", _ENDINGS + _WORDS % "{1,3}": "llama-bpe"}
"""The pattern that splits text in tokenizer.json, and llama.cpp's name for it."""
NORMALIZERS = {"qwen2": ("NFC", ""), "llama-bpe": ("",), "smollm": ("",), "gpt-2": ("",)}
"""Normalizers that come to the same: the runtime brings text into NFC for qwen2 and for no other."""
MOST_TOKENS = 1 << 20


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, with their kinds (gguf.TokenType), and what else GGUF says about a tokenizer.

    `special` has merges, ids of special tokens and whether BOS comes first; `used` is how many ids have a token.
    """

    pre_tokenizer: str
    tokens: list[str]
    kinds: list[int]
    special: gguf.SpecialVocab
    template: str
    used: int

    def token(self, name: str) -> str:
        """Text of a special token (`bos`, `eos`), '' where there is none."""
        found = self.special.special_token_ids.get(name)
        return "" if found is None else self.tokens[found]


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The vocabulary of the checkpoint in `folder`, whose embedding has `rows` rows.

    Raises ModelUnsupported (a tokenizer that llama.cpp lacks, no chat template, no end token) and ModelDamaged (no
    merges, more tokens than rows, ids that contradict each other).
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelUnsupported(
            f"{folder.name} has no tokenizer.json.", "Save the tokenizer with transformers (save_pretrained) first."
        )
    found = read_json(path)
    model = found.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else None
        raise ModelUnsupported(f"a tokenizer of the kind {str(kind)[:40]} cannot be exported.", "Only BPE can.")
    if not model.get("merges"):
        raise ModelDamaged("tokenizer.json has no merges, so it cannot join letters.", "Get the checkpoint again.")
    pre = _pre_tokenizer(found)
    _check_normalizer(found, pre)
    tokens, kinds, used = _tokens(found, rows)
    special = _special(folder, rows)
    if "eos" not in special.special_token_ids:
        raise ModelUnsupported("the checkpoint names no end token, so answers would never stop.", _TOKENIZER_HINT)
    template = read_template(folder)
    special.chat_template = template
    return Vocabulary(pre, tokens, kinds, special, template, used)


_TOKENIZER_HINT = "Set it in tokenizer_config.json (eos_token, chat_template), as the publisher's files have it."


def read_template(folder: Path) -> str:
    """The chat template of a checkpoint. Raises ModelUnsupported where there is none."""
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        found: Any = path.read_text("utf-8") if path.suffix == ".jinja" else read_json(path).get("chat_template")
        if isinstance(found, list):
            named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
            found = named.get("default")
        if isinstance(found, str) and found.strip():
            return found
    raise ModelUnsupported(
        f"{folder.name} has no chat template: it is a base model, or its file is missing.", _TOKENIZER_HINT
    )


def _special(folder: Path, rows: int) -> gguf.SpecialVocab:
    try:
        return gguf.SpecialVocab(folder, load_merges=True, n_vocab=rows)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:  # what odd files make of its reader
        raise ModelDamaged(f"the tokenizer's files cannot be read: {error!r}.", "Get the checkpoint again.") from error


def _pre_tokenizer(found: dict[str, Any]) -> str:
    parts = list(_steps(found.get("pre_tokenizer"), "pretokenizers"))
    kinds = [part.get("type") for part in parts]
    if kinds == ["Split", "ByteLevel"] and parts[0].get("behavior") == "Isolated":
        pattern = parts[0].get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        if regex in PRE_TOKENIZERS:
            return PRE_TOKENIZERS[regex]
        raise ModelUnsupported(
            f"the tokenizer splits text by a pattern that is not known here: {str(regex)[:120]}",
            "llama.cpp would tokenize differently. Use a checkpoint with the tokenizer of Qwen or Llama 3.",
        )
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits") is True:
        return "smollm"
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return "gpt-2"
    raise ModelUnsupported(
        f"a tokenizer with the steps {', '.join(map(str, kinds))[:80] or 'none'} cannot be exported.",
        "Byte-level BPE can: Qwen, Llama 3, SmolLM2.",
    )


def _steps(part: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        inner = part.get(key)
        if isinstance(inner, list):
            for one in inner:
                yield from _steps(one, key)
        else:
            yield part


def _check_normalizer(found: dict[str, Any], pre: str) -> None:
    name = "+".join(str(step.get("type")) for step in _steps(found.get("normalizer"), "normalizers"))
    if name not in NORMALIZERS[pre]:
        raise ModelUnsupported(
            f"the tokenizer normalizes text ({name[:60]}), which is not done at run time for {pre}.",
            "Use a checkpoint without a normalizer of its own.",
        )


def _tokens(found: dict[str, Any], rows: int) -> tuple[list[str], list[int], int]:
    vocabulary, added = found["model"].get("vocab"), found.get("added_tokens") or []
    try:
        by_id = {int(number): str(text) for text, number in vocabulary.items()}
        extra = {int(one["id"]): (str(one["content"]), bool(one["special"])) for one in added}
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ModelDamaged(f"tokenizer.json has a vocabulary of no known form: {error!r}.", _AGAIN) from error
    ids = by_id.keys() | extra.keys()
    if len(by_id) != len(vocabulary) or min(ids) < 0:
        raise ModelDamaged("tokenizer.json gives two tokens one id.", _AGAIN)
    if max(ids) >= min(rows, MOST_TOKENS):
        raise ModelDamaged(
            f"the vocabulary is larger than the embedding: ids up to {max(ids):,}, {rows:,} rows.",
            "The tokenizer is of another checkpoint, or the embedding was not resized after tokens were added.",
        )
    tokens, kinds = [], []
    for number in range(rows):
        if number in extra:
            text, special = extra[number]
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        elif number in by_id:
            text, kind = by_id[number], gguf.TokenType.NORMAL
        else:  # rows that only make the embedding's size round
            text, kind = f"[PAD{number}]", gguf.TokenType.UNUSED
        tokens.append(text)
        kinds.append(int(kind))
    return tokens, kinds, len(ids)


_AGAIN = "Get the checkpoint again."
