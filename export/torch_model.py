"""The checkpoint as torch runs it, in 32 bits: what every conversion is compared with. Only home of torch and
transformers; never runs code of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .apart import Progress
from .verify.logits import write_rows

BYTES_PER_WEIGHT = 5
"""Weights in 32 bits, and what loading and a forward pass take beside them."""
PROCESS_BYTES = 700 << 20
ROTATED_AT_ONCE = 8192
"""Positions: transformers computes them for whole heads, of which the second half repeats the first."""


def available() -> bool:
    """Whether torch and transformers are installed."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def ram_bytes(parameters: int) -> int:
    """Estimate of what running a checkpoint of so many weights takes."""
    return parameters * BYTES_PER_WEIGHT + PROCESS_BYTES


def torch_reference(
    folder: Path,
    lora: str,
    texts: Sequence[Sequence[int]],
    prompt: Sequence[int],
    ends: Sequence[int],
    tokens: int,
    rows: Path,
    report: Progress,
) -> list[int]:
    """Write the logits after each id of `texts` to `rows`; returns the greedy answer to `prompt`. For `run_apart`.

    The adapter in the folder `lora` ('' for none) stays beside the weights here, as peft has it.
    """
    torch, transformers = import_module("torch"), import_module("transformers")
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, trust_remote_code=False
    ).eval()

    if lora:
        model = import_module("peft").PeftModel.from_pretrained(model, lora, local_files_only=True).eval()

    def computed() -> Iterator[NDArray[np.float32]]:
        for number, ids in enumerate(texts, 1):
            yield from model(input_ids=torch.tensor([list(ids)])).logits[0].numpy()
            report("torch", number, len(texts))

    with torch.no_grad():
        write_rows(rows, texts, computed())
        return _greedy(torch, model, list(prompt), set(ends), tokens)


def weightless(folder: Path, vectors: Mapping[str, NDArray[np.float32]]) -> Any:
    """The network in `folder` without memory for its matrices (torch's `meta` device), with its norms and biases, which
    `vectors` are by name."""
    torch, transformers = import_module("torch"), import_module("transformers")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    model.load_state_dict({name: torch.from_numpy(one) for name, one in vectors.items()}, strict=False, assign=True)
    return model.eval().requires_grad_(False)


def rotations(model: Any, positions: int) -> tuple[Any, Any]:
    """Cosines and sines (positions x half a head) of the network's rotary positions, by transformers' own module for
    it: whatever the kind of scaling, with yarn's factor in them."""
    torch = import_module("torch")
    rotary = type(model.model.rotary_emb)(model.config)
    halves = []
    for block in torch.arange(positions).split(ROTATED_AT_ONCE):
        both = rotary(torch.zeros(1), block[None])
        halves.append([part[0, :, : part.shape[-1] // 2].clone() for part in both])
    return torch.cat([cosines for cosines, _ in halves]), torch.cat([sines for _, sines in halves])


def _greedy(torch: Any, model: Any, ids: list[int], ends: set[int], tokens: int) -> list[int]:
    """Plain argmax, without what generation_config.json may ask for."""
    past, given, answer = None, ids, list[int]()
    while len(answer) < tokens:
        out = model(input_ids=torch.tensor([given]), past_key_values=past, use_cache=True)
        token = int(out.logits[0, -1].argmax())
        if token in ends:
            break
        answer.append(token)
        past, given = out.past_key_values, [token]
    return answer
