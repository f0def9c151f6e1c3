"""ONNX by optimum, the second exporter, in an environment of its own: it wants transformers 4, and the rest of the
export is on 5. torch, onnx and what else both share come from the environment that we run in.

The graph is in 32 bits and of standard operators, so any runtime of ONNX loads it. optimum loads the whole checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgemem.catalogue.digests import sha256_of
from edgemem.errors import DownloadFailed, EngineFailed

from .apart import TAIL_CHARS, Progress
from .architecture import network_of
from .checkpoint import INDEX, Checkpoint, open_checkpoint, read_json
from .onnx_genai import mark_weights, use_own_texts
from .torch_model import PROCESS_BYTES

LOCK, CHILD = Path(__file__).with_name("optimum-lock.txt"), Path(__file__).with_name("optimum_child.py")
SHARED = ("torch", "onnx", "onnxruntime", "numpy", "safetensors", "requests", "yaml", "tqdm", "packaging")
"""What the environment takes from ours; by their import names."""
BYTES_PER_WEIGHT = 11
"""Peak memory: 6.6 GB seen for 0.6 B weights."""
DONE = "edgemem-lock.sha256"


def ram_bytes(parameters: int) -> int:
    """Estimate of optimum's peak for a checkpoint of so many weights."""
    return PROCESS_BYTES + parameters * BYTES_PER_WEIGHT


def folder_of(cache: Path) -> Path:
    """Where the environment is, or would be, in the folder `cache`."""
    return cache / f"optimum-{sha256_of(LOCK)[:12]}"


def is_made(cache: Path) -> bool:
    """Whether the environment is there and whole."""
    return (folder_of(cache) / DONE).is_file()


def environment(cache: Path, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The Python of optimum's environment, which is made in the folder `cache` if it is not there.

    Raises DownloadFailed (and what is unfinished is made anew the next time).
    """
    folder = folder_of(cache)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if is_made(cache):
        return python
    if offline:
        raise DownloadFailed("optimum is not there, and --offline is on", "run it once without --offline")
    shutil.rmtree(folder, ignore_errors=True)
    steps: list[Sequence[str]] = [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(LOCK)],
    ]
    for number, words in enumerate(steps):
        if progress:
            progress("optimum's environment", number, len(steps))
        _run(words, DownloadFailed, "optimum's environment could not be made")
    found = [Path(str(spec.origin)).parents[1] for name in SHARED if (spec := find_spec(name)) and spec.origin]
    inside = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    (inside / "zz-shared.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(found)))
    (folder / DONE).write_text(sha256_of(LOCK))
    return python


def build(source: Path, python: Path, out: Path, progress: Progress | None = None) -> tuple[float, int]:
    """Build the folder `out` with the environment's `python`; returns seconds and peak bytes. Raises EngineFailed."""
    if not python.is_file():
        raise EngineFailed("optimum's environment is gone", "run: edgemem export onnx SRC --exporter optimum")
    started = time.monotonic()
    checkpoint = open_checkpoint(source)
    if progress:
        progress("build fp32", 0, 1)
    with tempfile.TemporaryDirectory(prefix="edgemem-optimum-") as work:
        seen, result = Path(work) / "source", Path(work) / "peak"
        _as_transformers_4(checkpoint, seen)
        out.mkdir(parents=True, exist_ok=True)
        _run([str(python), "-I", str(CHILD), str(seen), str(out), str(result)])
        peak = int(result.read_text())
    for path in out.glob("*.json*"):
        path.unlink()
    use_own_texts(source, out)
    (out / "genai_config.json").write_text(json.dumps(_runtime_config(checkpoint), indent=4))
    mark_weights(out)
    return time.monotonic() - started, peak


def _as_transformers_4(checkpoint: Checkpoint, folder: Path) -> None:
    """The checkpoint as transformers 4 understands it: that looks for the base of the positions at the top of
    config.json, and takes 10,000 without a word where it stands among `rope_parameters` only."""
    network = network_of(checkpoint.config)
    folder.mkdir()
    for path in [*checkpoint.files, checkpoint.folder / INDEX]:
        if path.is_file():
            (folder / path.name).symlink_to(path.resolve())
    config = {key: value for key, value in checkpoint.config.items() if key not in ("rope_parameters", "rope_scaling")}
    config |= {"rope_theta": network.rope.base, "head_dim": network.head}
    (folder / "config.json").write_text(json.dumps(config))


def _runtime_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the `onnx` engine reads beside the graph."""
    network = network_of(checkpoint.config)
    generation = checkpoint.folder / "generation_config.json"
    ends = (read_json(generation) if generation.is_file() else {}).get("eos_token_id")
    ends = checkpoint.config.get("eos_token_id") if ends is None else ends
    decoder = {"filename": "model.onnx", "head_size": network.head, "num_hidden_layers": network.layers}
    model = {"type": network.architecture, "context_length": network.context_tokens, "eos_token_id": ends or []}
    return {"model": model | {"vocab_size": network.vocabulary, "decoder": decoder}}


def _run(words: Sequence[str], error: type[DownloadFailed] | type[EngineFailed] = EngineFailed, what: str = "") -> str:
    """Run a command to its end; returns what it printed. Raises `error` with the end of what it wrote."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if error is EngineFailed else {}
    done = subprocess.run(
        words, env=os.environ | offline, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        tail = (done.stderr or done.stdout)[-TAIL_CHARS:].strip()
        raise error(f"{what or 'optimum failed'}: {tail}", "try again; if it stays so, use --exporter genai")
    return done.stdout


def versions() -> dict[str, str]:
    """What decides the bytes of an ONNX folder, beside our own version."""
    from importlib.metadata import version

    return {"optimum-lock": sha256_of(LOCK), **{name: version(name) for name in ("torch", "onnx")}}
