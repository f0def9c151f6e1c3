"""A LoRA adapter (peft) as a GGUF file of its own, loaded beside the base: one base serves many."""

from __future__ import annotations

from pathlib import Path

import gguf

from .apart import Progress
from .architecture import network_of
from .checkpoint import open_checkpoint
from .convert import interleaved, ordered
from .lora import Merged, floats, with_adapter


def write_adapter(folder: Path, lora: str, out: Path, name: str, report: Progress) -> int:
    """Write the adapter in the folder `lora` of the checkpoint in `folder` to `out`, in 32 bits; returns the number of
    matrices that it changes. For `run_apart`. Raises as preflight does.

    llama.cpp multiplies with alpha / rank, so alpha is written as what gives peft's scale (rsLoRA divides by the root).
    """
    checkpoint = with_adapter(open_checkpoint(folder), Path(lora))
    network = network_of(checkpoint.config)
    changed = [(ours, one) for ours, one in ordered(checkpoint, network) if isinstance(one, Merged)]
    writer = gguf.GGUFWriter(out, network.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, changed[0][1].scale * changed[0][1].rank)
    for number, (ours, one) in enumerate(changed, 1):
        up = floats(one.up)
        if network.architecture == "llama":
            up = interleaved(up, one.name, network)
        writer.add_tensor(f"{ours}.lora_a", floats(one.down))
        writer.add_tensor(f"{ours}.lora_b", up)
        report("adapter", number, len(changed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return len(changed)
