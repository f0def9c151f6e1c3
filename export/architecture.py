"""What config.json says about a network, checked, and the tensors that such a network must have.

Qwen3 (dense), Qwen2/2.5 and Llama, as transformers 4 and 5 write them. Pure: reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgemem.errors import ModelDamaged, ModelUnsupported

from .checkpoint import Checkpoint

ARCHITECTURES = {"Qwen3ForCausalLM": "qwen3", "Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}
ROPE_KINDS = ("default", "linear", "yarn", "llama3")
ROPE_NUMBERS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
}
MOST = 1 << 24
"""Larger sizes than this are no network but an attempt to make us allocate."""


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions: the base frequency, the kind of scaling, and its numbers under their names in config.json."""

    base: float
    kind: str = "default"
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Network:
    """The sizes of a decoder. `head` is the size of one attention head (explicit in Qwen3), `tied` says that the
    output uses the embedding's weights."""

    architecture: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    context_tokens: int
    epsilon: float
    rope: Rope
    tied: bool
    biases: tuple[str, ...] = ()

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor that the checkpoint must have."""
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        yield "model.norm.weight", (self.hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            for name, shape in self._layer():
                yield f"model.layers.{layer}.{name}", shape

    def _layer(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        queries, keys = self.heads * self.head, self.kv_heads * self.head
        rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": self.hidden}
        yield "input_layernorm.weight", (self.hidden,)
        yield "post_attention_layernorm.weight", (self.hidden,)
        for name, count in rows.items():
            yield f"self_attn.{name}.weight", (count, queries if name == "o_proj" else self.hidden)
        for name in self.biases:
            yield f"self_attn.{name}.bias", (rows[name],)
        if self.architecture == "qwen3":
            yield "self_attn.q_norm.weight", (self.head,)
            yield "self_attn.k_norm.weight", (self.head,)
        yield "mlp.gate_proj.weight", (self.feed_forward, self.hidden)
        yield "mlp.up_proj.weight", (self.feed_forward, self.hidden)
        yield "mlp.down_proj.weight", (self.hidden, self.feed_forward)


def network_of(config: Mapping[str, Any]) -> Network:
    """The network that `config` describes. Raises ModelUnsupported, ModelDamaged."""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else ""
    if name not in ARCHITECTURES:
        raise ModelUnsupported(
            f"the architecture {str(name)[:60] or 'of this checkpoint'} cannot be exported.",
            f"What can: {', '.join(ARCHITECTURES)}.",
        )
    architecture = ARCHITECTURES[name]
    _refuse_variants(config)
    heads = _size(config, "num_attention_heads")
    hidden = _size(config, "hidden_size")
    return Network(
        architecture=architecture,
        layers=_size(config, "num_hidden_layers"),
        hidden=hidden,
        feed_forward=_size(config, "intermediate_size"),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", heads),
        head=_size(config, "head_dim", hidden // heads),
        vocabulary=_size(config, "vocab_size"),
        context_tokens=_size(config, "max_position_embeddings"),
        epsilon=_number(config, "rms_norm_eps"),
        rope=_rope(config),
        tied=config.get("tie_word_embeddings") is True,
        biases=_biases(architecture, config),
    )


def check_tensors(network: Network, checkpoint: Checkpoint) -> None:
    """Compare what must be there with what is there, by name and shape. Raises ModelDamaged, ModelUnsupported."""
    needed = dict(network.tensors())
    there = checkpoint.tensors
    if missing := [name for name in needed if name not in there]:
        raise ModelDamaged(
            f"{len(missing)} tensors are missing, {missing[0]} among them: a file with weights may be missing.",
            "Download the checkpoint again, or check config.json.",
        )
    for name, shape in needed.items():
        if there[name].shape != shape:
            raise ModelDamaged(
                f"the tensor {name} has the shape {_times(there[name].shape)}, config.json wants {_times(shape)}.",
                "config.json and weights do not belong together; get the checkpoint again.",
            )
    unused = set(there) - set(needed) - ({"lm_head.weight"} if network.tied else set())
    if unknown := sorted(name for name in unused if not name.endswith("rotary_emb.inv_freq")):
        raise ModelUnsupported(
            f"{len(unknown)} tensors have no place in a {network.architecture} network, {unknown[0][:80]} among them.",
            "A LoRA adapter is merged first; other variants of the architecture cannot be exported.",
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _refuse_variants(config: Mapping[str, Any]) -> None:
    if config.get("hidden_act", "silu") != "silu":
        raise ModelUnsupported(f"the activation {config['hidden_act']!r} cannot be exported.", "Only silu can.")
    layers = config.get("layer_types") or []
    if config.get("use_sliding_window") is True or any(kind != "full_attention" for kind in layers):
        raise ModelUnsupported("layers with sliding attention cannot be exported.", "Only full attention can.")
    if config.get("mlp_bias") is True:
        raise ModelUnsupported("biases in the feed-forward part cannot be exported.", "Choose another checkpoint.")


def _biases(architecture: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    if architecture == "qwen2":
        return ("q_proj", "k_proj", "v_proj")
    if config.get("attention_bias") is not True:
        return ()
    if architecture == "qwen3":
        raise ModelUnsupported("Qwen3 with attention biases cannot be run by llama.cpp.", "Choose another checkpoint.")
    return ("q_proj", "k_proj", "v_proj", "o_proj")


def _rope(config: Mapping[str, Any]) -> Rope:
    """Transformers 5 writes `rope_parameters`, 4 writes `rope_theta` beside `rope_scaling`: the first one wins."""
    found: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        part = config.get(key)
        if isinstance(part, dict):
            found |= part
    kind = found.get("rope_type", found.get("type", "default"))
    if kind not in ROPE_KINDS:
        raise ModelUnsupported(
            f"rotary positions of the kind {str(kind)[:40]!r} cannot be exported.",
            f"What can: {', '.join(ROPE_KINDS)}.",
        )
    base = found.get("rope_theta", config.get("rope_theta", 10_000.0))
    numbers = {name: _number(found, name) for name in ROPE_NUMBERS[kind]}
    return Rope(_number({"rope_theta": base}, "rope_theta"), kind, numbers)


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
        raise ModelDamaged(f"config.json has {key} = {str(value)[:40]}.", "Get the checkpoint again.")
    return value


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        raise ModelDamaged(f"config.json has {key} = {str(value)[:40]}.", "Get the checkpoint again.")
    return float(value)
