"""Text and ids of an ONNX model folder. Only home of tokenizers; the normalizer (NFC) is part of tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

from edgemem.errors import ModelDamaged, ModelUnsupported

END_TOKENS = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"}
"""Control tokens that end an answer wherever a vocabulary has them, as in llama.cpp."""
MAX_BYTES = 64 << 20


class OnnxTokenizer:
    """The tokenizer in `folder`. Byte-level BPE only."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        found = read_json(path)
        decoder = found.get("decoder") or {}
        if "ByteLevel" not in json.dumps(decoder):
            raise ModelUnsupported("the tokenizer is no byte-level BPE", "export the model again")
        self._special, self._plain = self._load(path), self._load(path)
        self._plain.encode_special_tokens = True
        self._config = read_json(folder / "tokenizer_config.json") if _there(folder / "tokenizer_config.json") else {}
        self._added = {int(one["id"]): one for one in found.get("added_tokens", [])}
        self._tokens = {number: token for token, number in self._special.get_vocab(with_added_tokens=True).items()}
        self._bytes = _byte_of_letter()
        self._ends = self._end_ids(folder)
        self._pieces: dict[int, bytes] = {}

    @staticmethod
    def _load(path: Path) -> Tokenizer:
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelDamaged(f"{path.name} cannot be read: {error}.", "Export the model again.") from error

    def _end_ids(self, folder: Path) -> frozenset[int]:
        named: Any = read_json(folder / "genai_config.json").get("model", {}).get("eos_token_id", [])
        numbers = named if isinstance(named, list) else [named]
        known = {number for number, one in self._added.items() if one["special"] and one["content"] in END_TOKENS}
        return frozenset(known | {number for number in numbers if isinstance(number, int)})

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text`; with `special`, control tokens in it are control tokens. Never adds BOS."""
        clean = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        tokenizer = self._special if special else self._plain
        return list(tokenizer.encode(clean, add_special_tokens=False).ids)

    def bos(self) -> list[int]:
        """The token to put first where this model wants one."""
        if self._config.get("add_bos_token") is not True:
            return []
        number = self._special.token_to_id(self.special_text("bos"))
        return [] if number is None else [number]

    def special_text(self, which: str) -> str:
        """Text of the `bos` or `eos` token, '' where there is none."""
        found = self._config.get(f"{which}_token")
        return str(found.get("content", "") if isinstance(found, dict) else found or "")

    def piece(self, token: int) -> bytes:
        """Bytes of one token; control tokens and unused ids are empty."""
        if token not in self._pieces:
            self._pieces[token] = self._bytes_of(token)
        return self._pieces[token]

    def _bytes_of(self, token: int) -> bytes:
        if token in self._added:
            one = self._added[token]
            return b"" if one["special"] else str(one["content"]).encode()
        return bytes(self._bytes[letter] for letter in self._tokens.get(token, "") if letter in self._bytes)

    def is_end(self, token: int) -> bool:
        return token in self._ends

    def template(self, folder: Path) -> str:
        """The chat template's source. Raises ModelUnsupported where there is none."""
        path = folder / "chat_template.jinja"
        found = path.read_text("utf-8") if _there(path) else self._config.get("chat_template")
        if not isinstance(found, str) or not found.strip():
            raise ModelUnsupported(f"{folder.name} has no chat template", "use an instruct model: edgemem model list")
        return found


def _there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_BYTES


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder. Raises ModelDamaged."""
    try:
        if not _there(path):
            raise ModelDamaged(f"{path} is missing or too large.", "Export the model again.")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.", "Export the model again.") from error
    if not isinstance(found, dict):
        raise ModelDamaged(f"{path} holds no object.", "Export the model again.")
    return found


def _byte_of_letter() -> dict[str, int]:
    """GPT-2's table: each byte has a printable letter; those that have none of their own get one from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(0x100 + index): byte for index, byte in enumerate(rest)}
