"""From a plan to finished GGUF files: convert once, quantize each, look at what was really made. Can be stopped and
called again: what is finished is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgemem.catalogue.cards import engine_digest
from edgemem.catalogue.digests import sha256_of
from edgemem.catalogue.gguf import check_gguf
from edgemem.errors import ModelDamaged
from edgemem.machine import usable_threads
from edgemem.prompting.prompts import load_prompts

from .apart import Outcome, Progress, run_apart
from .checkpoint import Checkpoint
from .convert import VERSION, write_gguf
from .imatrix import MOST_CHUNKS, measure_importance
from .imatrix_file import read_imatrix
from .lora import adapter_files
from .lora_gguf import write_adapter
from .own_texts import calibration_digest
from .preflight import Plan
from .quantizations import fallbacks
from .quantize import matrix_types, quantize
from .steps import WORK, Made, Steps, files_of

OWN = "own"


@dataclass(frozen=True)
class Quantized:
    """A finished file. `types` counts its matrices by stored type; `fallbacks` are those in a type not asked for."""

    name: str
    made: Made
    types: dict[str, int]
    fallbacks: dict[str, str]

    @property
    def format(self) -> str:
        return "onnx" if self.made.path.is_dir() else "gguf"

    @property
    def main(self) -> Path:
        """What an engine opens."""
        return self.made.path / "model.onnx" if self.made.path.is_dir() else self.made.path

    @property
    def files(self) -> list[Path]:
        """All files, the main one first."""
        return [self.main, *(path for path in files_of(self.made.path) if path != self.main)]

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)


@dataclass(frozen=True)
class Export:
    """All that was made of a plan, in the work folder: the base and the quantizations, in the order asked for."""

    plan: Plan
    base: Made
    files: tuple[Quantized, ...]
    source: dict[str, str]
    imatrix: Path | None = None
    adapter: Made | None = None

    @property
    def beside(self) -> Path | None:
        """The adapter that is loaded beside every file."""
        return self.adapter.path if self.adapter else None

    def key(self, made: Made) -> str:
        """Names what a file of this export computes, together with the adapter beside it."""
        return engine_digest(made.sha256, self.adapter.sha256 if self.adapter else "")

    @property
    def peak_rss_bytes(self) -> int:
        return max(made.peak_rss_bytes for made in (self.base, *(one.made for one in self.files)))


def tool_versions() -> dict[str, str]:
    """What decides the bytes that are written."""
    from importlib.metadata import version

    return {
        "edgemem": version("edgemem-runtime"),
        "converter": str(VERSION),
        "gguf": version("gguf"),
        "llama-cpp-python": version("llama-cpp-python"),
    }


def source_digests(checkpoint: Checkpoint, lora: str = "", progress: Progress | None = None) -> dict[str, str]:
    """sha256 of every file of the checkpoint that an export depends on."""
    small = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    there = [path for path in (checkpoint.folder / name for name in small) if path.is_file()]
    found = {}
    paths = [*there, *checkpoint.files, *adapter_files(lora)]
    for number, path in enumerate(paths, 1):
        found[path.name] = sha256_of(path)
        if progress:
            progress("read", number, len(paths))
    return found


def export_gguf(plan: Plan, imatrix: str = "", progress: Progress | None = None, prompts: str = "") -> Export:
    """Make what `plan` says, with the importance matrix in the file `imatrix`, or one measured now (`own`).

    Raises StoreWriteFailed, EngineFailed, ModelDamaged, InvalidInput (`imatrix` is none).
    """
    given = Path(imatrix) if imatrix not in ("", OWN) else None
    if given:
        read_imatrix(given)
    source = source_digests(plan.checkpoint, plan.lora, progress)
    steps = Steps(plan.out / WORK)
    base = make_base(plan, source, steps, progress)
    adapter = make_adapter(plan, source, steps, progress) if plan.keep_adapter else None
    importance = own_importance(plan, base, adapter, steps, prompts, progress) if imatrix == OWN else given
    files = []
    for name in plan.quantizations:
        inputs = {"base": base.sha256, "quantization": name, "tools": tool_versions()}
        inputs |= {"imatrix": sha256_of(importance)} if importance else {}
        path = plan.out / WORK / f"{plan.name}-{name}.gguf"
        write = _writer(quantize, base.path, name, importance, usable_threads(), progress=progress)
        files.append(_looked_at(name, steps.make(path, inputs, write)))
    return Export(plan, base, tuple(files), source, importance, adapter)


def export_onnx(plan: Plan, progress: Progress | None = None, optimum: Path | None = None) -> Export:
    """As `export_gguf`: a folder for each precision, by the model builder, or where the plan says so by optimum in the
    environment of the Python `optimum`. The base is what they are compared with."""
    from . import onnx_genai, onnx_optimum

    tools = onnx_optimum.versions() if plan.exporter == "optimum" else onnx_genai.versions()
    source = source_digests(plan.checkpoint, plan.lora, progress)
    steps = Steps(plan.out / WORK)
    base = make_base(plan, source, steps, progress)
    files = []
    for name in plan.quantizations:
        inputs = {"source": source, "precision": name, "tools": tool_versions() | tools}
        path = plan.out / WORK / f"{plan.name}-{name}"

        def write(part: Path, name: str = name) -> tuple[float, int]:
            if optimum:
                return onnx_optimum.build(plan.checkpoint.folder, optimum, part, progress)
            done = run_apart(onnx_genai.build, plan.checkpoint.folder, plan.merged, part, name, progress=progress)
            return done.seconds, done.peak_rss_bytes

        made = steps.make(path, inputs, write)
        files.append(Quantized(name, made, onnx_genai.nodes(path / "model.onnx"), {}))
    return Export(plan, base, tuple(files), source)


def make_base(plan: Plan, source: dict[str, str], steps: Steps, progress: Progress | None = None) -> Made:
    """The checkpoint as one GGUF in its own precision."""
    inputs = {"source": source, "name": plan.name, "type": plan.base, "tools": tool_versions()}
    inputs |= {"adapter": "kept"} if plan.keep_adapter else {}
    path = plan.out / WORK / f"{plan.name}-base-{plan.base}.gguf"  # never the name of a quantization

    def write(part: Path) -> tuple[float, int]:
        done = run_apart(write_gguf, plan.checkpoint.folder, plan.merged, part, plan.name, plan.base, progress=progress)
        return done.seconds, done.peak_rss_bytes

    made = steps.make(path, inputs, write)
    check_gguf(made.path)
    return made


def make_adapter(plan: Plan, source: dict[str, str], steps: Steps, progress: Progress | None = None) -> Made:
    """The LoRA adapter as a GGUF of its own."""
    inputs = {"source": source, "name": plan.name, "kind": "adapter", "tools": tool_versions()}

    def write(part: Path) -> tuple[float, int]:
        done = run_apart(write_adapter, plan.checkpoint.folder, plan.lora, part, plan.name, progress=progress)
        return done.seconds, done.peak_rss_bytes

    made = steps.make(plan.out / WORK / f"{plan.name}-adapter.gguf", inputs, write)
    check_gguf(made.path, kind="adapter")
    return made


def own_importance(
    plan: Plan, base: Made, adapter: Made | None, steps: Steps, prompts: str, progress: Progress | None = None
) -> Path:
    """The importance matrix of our texts, kept in the model folder: it can be used again, and by llama.cpp's tools."""
    inputs = {"base": base.sha256, "chunks": MOST_CHUNKS, "prompts": load_prompts(prompts).digest}
    inputs |= {"texts": calibration_digest(), "tools": tool_versions()}
    inputs |= {"adapter": adapter.sha256} if adapter else {}

    def write(part: Path) -> tuple[float, int]:
        work = (base.path, adapter.path if adapter else None, prompts, usable_threads(), MOST_CHUNKS, part)
        done = run_apart(measure_importance, *work, progress=progress)
        return done.seconds, done.peak_rss_bytes

    return steps.make(plan.out / f"{plan.name}.imatrix.gguf", inputs, write).path


def _writer(
    task: Callable[..., None], source: Path, *rest: object, progress: Progress | None
) -> Callable[[Path], tuple[float, int]]:
    def write(part: Path) -> tuple[float, int]:
        done: Outcome[None] = run_apart(task, source, part, *rest, progress=progress)
        return done.seconds, done.peak_rss_bytes

    return write


def _looked_at(name: str, made: Made) -> Quantized:
    check_gguf(made.path)
    types = matrix_types(made.path)
    if not types:
        raise ModelDamaged(f"{made.path.name} holds no matrices.", "Please report this.")
    return Quantized(name, made, dict(sorted(Counter(types.values()).items())), fallbacks(name, types))
