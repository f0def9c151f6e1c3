"""Checkpoints made on the spot for the export's tests: a real byte-level BPE tokenizer, weights of any shape.

`make_checkpoint` needs no torch: random weights by numpy. The text that the tokenizer learns is the repository's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}
"""
ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}


@dataclass(frozen=True)
class Tiny:
    """Sizes of a tiny network; the head's size is explicit, and there are fewer key heads than heads."""

    kind: str = "qwen3"
    vocabulary: int = 640
    hidden: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    feed_forward: int = 512
    tied: bool = True
    dtype: str = "F32"
    context: int = 2048
    rope: Mapping[str, Any] = field(default_factory=lambda: {"rope_type": "default", "rope_theta": 1e6})

    def config(self) -> dict[str, Any]:
        """config.json as transformers 5 writes it."""
        return {
            "architectures": [ARCHITECTURES[self.kind]],
            "model_type": self.kind,
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-6,
            "hidden_act": "silu",
            "rope_parameters": dict(self.rope),
            "tie_word_embeddings": self.tied,
            "bos_token_id": None,
            "eos_token_id": 2,
        }

    def but(self, **changes: Any) -> Tiny:
        return replace(self, **changes)


@cache
def training_text() -> str:
    """Our own texts in several languages, and the words that the engines' suite repeats."""
    text = (resources.files("edgemem.export") / "texts" / "calibration.jsonl").read_text("utf-8")
    return text + " word red blue" * 500


@cache
def tokenizer_json(vocabulary: int = 600, pattern: str = QWEN_PATTERN, normalizer: str = "NFC") -> str:
    """A byte-level BPE tokenizer of `vocabulary` tokens, learned from our text."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    if normalizer:
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(training_text().splitlines(), trainer)
    return str(made.to_str())


def write_tokenizer(folder: Path, text: str | None = None, template: str = CHATML) -> None:
    (folder / "tokenizer.json").write_text(text or tokenizer_json(), "utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    config |= {"model_input_names": ["input_ids", "attention_mask"]}  # type: ignore[dict-item]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if template:
        (folder / "chat_template.jinja").write_text(template)


def weights(tiny: Tiny, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Random weights by their names, as floats of the type that the network has (BF16 as uint16)."""
    from edgemem.export.architecture import network_of

    random = np.random.default_rng(seed)
    made = {}
    for name, shape in network_of(tiny.config()).tensors():
        # So large that the layers decide the answer and not the embedding alone, and logits are far enough apart.
        values = random.normal(0, 0.08, shape).astype(np.float32)
        if name.endswith("norm.weight"):
            values += 1
        made[name] = as_stored(values, tiny.dtype)
    return made


def as_stored(values: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype({"F32": np.float32, "F16": np.float16}[dtype])


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]], dtype: str) -> None:
    """The library has no bfloat16 for numpy, so the file is written here: it is a header and the bytes."""
    header, data, at = {}, [], 0
    for name, values in tensors.items():
        raw = values.tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))


def make_checkpoint(folder: Path, tiny: Tiny = Tiny(), *, shards: int = 1, seed: int = 1) -> Path:
    """A checkpoint folder as transformers writes it. With several `shards` there is an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(tiny.config(), indent=2))
    write_tokenizer(folder)
    made = weights(tiny, seed)
    names = list(made)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", made, tiny.dtype)
        return folder
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: made[name] for name in names[number::shards]}
        write_safetensors(folder / file, part, tiny.dtype)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder
