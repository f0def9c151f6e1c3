"""Runs the checks of an export, each model in a process of its own, and keeps what was measured: a check that was
done is not done again for the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.catalogue.gguf import check_gguf
from edgemem.engines import DEFAULT_CONTEXT_TOKENS
from edgemem.engines.llama import LlamaEngine
from edgemem.engines.llama_binding import Binding, LoadOptions
from edgemem.machine import memory_bytes, usable_threads
from edgemem.prompting.prompts import load_prompts

from .. import torch_model
from ..apart import Progress, run_apart
from ..convert import write_gguf
from ..run import Export
from ..steps import WORK, Made, Steps
from . import gate
from .logits import GREEDY_TOKENS, all_rows, compare, greedy, greedy_prompt, held_out_ids, write_rows
from .skill import measure_skill
from .tokens import check_template, check_tokenizer
from .values import Check, Closeness, Skill, Verdict

if TYPE_CHECKING:
    from edgemem.engines.onnx_engine import OnnxEngine

BASE = "base"
"""Name of the verdict about the conversion itself."""
VERSION = 1
"""Raise it whenever a check measures something else."""


@dataclass(frozen=True)
class How:
    """How the model is meant to be used: its prompt texts (folder, '' for ours) and its write policy."""

    prompts: str = ""
    policy: str = "edits"
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """What the base answers, and its memory skill."""

    texts: list[list[int]]
    prompt: list[int]
    ends: list[int]
    answer: list[int]
    skill: Skill
    checks: list[Check]


def verify(made: Export, how: How, progress: Progress | None = None) -> list[Verdict]:
    """Check the base and every quantization; the base's verdict (against torch) comes first.

    Raises EngineFailed and what opening a model raises; what fails a check is no error.
    """
    work = made.plan.out / WORK
    kept = Kept(work / "checks.json", how)
    source = made.plan.checkpoint.folder
    rows = work / "reference.npy"
    reference = _reference(made, how, rows, kept, progress)
    base_checks = [*reference.checks, _against_torch(made, reference, kept, progress)]
    verdicts = [Verdict(BASE, made.base.sha256, tuple(base_checks))]
    for one in made.files:
        found = kept.get("file", one.made.sha256)
        if found is None:
            _restore_rows(made, reference, rows, progress)
            work_done = run_apart(check_file, one.main, source, rows, reference, how, progress=progress)
            found = [asdict(check) for check in work_done.value]
            kept.put("file", one.made.sha256, found)
        verdicts.append(Verdict(one.name, one.made.sha256, tuple(Check(**check) for check in found)))
    rows.unlink(missing_ok=True)
    return verdicts


class Kept:
    """Results by what was checked and how, in a JSON file of the work folder."""

    def __init__(self, path: Path, how: How) -> None:
        self._path = path
        texts = {"prompts": load_prompts(how.prompts).digest, "policy": how.policy, "thresholds": dict(how.thresholds)}
        self._how = json.dumps({"version": VERSION, **texts}, sort_keys=True)

    def _key(self, kind: str, digest: str) -> str:
        return f"{kind}-{hashlib.sha256(f'{self._how} {digest}'.encode()).hexdigest()[:32]}"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def get(self, kind: str, digest: str) -> Any:
        return self._read().get(self._key(kind, digest))

    def put(self, kind: str, digest: str, value: Any) -> None:
        content = {**self._read(), self._key(kind, digest): value}
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps(content), "utf-8")
        part.replace(self._path)


def open_file(path: Path, *, exact: bool = False, context_tokens: int | None = None) -> LlamaEngine:
    """The engine that a chat uses; `exact` keeps its cache in 32 bits."""
    header = check_gguf(path)
    quantized = header.file_type not in ("F32", "F16", "BF16")
    wanted = min(context_tokens or DEFAULT_CONTEXT_TOKENS, header.context_tokens or DEFAULT_CONTEXT_TOKENS)
    kv_type = "f32" if exact else "f16"
    options = LoadOptions(wanted, usable_threads(), "cpu", None, quantized, kv_type=kv_type)
    return LlamaEngine(Binding(path, options))


def open_onnx(path: Path, context_tokens: int = DEFAULT_CONTEXT_TOKENS) -> OnnxEngine:
    """The `onnx` engine on the CPU."""
    from edgemem.engines.onnx_engine import OnnxEngine  # here: GGUF alone needs no onnxruntime

    return OnnxEngine(path, context_tokens=context_tokens, threads=usable_threads())


def same_start(one: list[int], other: list[int]) -> int:
    """How many tokens two answers begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def check_base(path: Path, source: Path, rows: Path, how: How, report: Progress) -> Reference:
    """Everything that is asked of the base. For `run_apart`."""
    engine = open_file(path)
    try:
        texts, prompt = held_out_ids(engine), greedy_prompt(engine)
        _write(engine, texts, rows, report)
        skill = measure_skill(engine, load_prompts(how.prompts), how.policy, how.thresholds, report)
        checks = [
            check_tokenizer(engine.binding, source),
            check_template(engine, engine.binding, engine.template, source),
        ]
        ends = [token for token in range(engine.binding.vocabulary) if engine.binding.is_end(token)]
        return Reference(texts, prompt, ends, greedy(engine, prompt), skill, checks)
    finally:
        engine.close()


def check_file(path: Path, source: Path, rows: Path, reference: Reference, how: How, report: Progress) -> list[Check]:
    """Everything that is asked of a quantization. For `run_apart`."""
    engine = open_onnx(path) if path.suffix == ".onnx" else open_file(path)
    tokens = engine.binding if isinstance(engine, LlamaEngine) else engine.tokens
    try:
        found = compare(reference.texts, _rows(engine, reference.texts, report), rows)
        skill = measure_skill(engine, load_prompts(how.prompts), how.policy, how.thresholds, report)
        equal = same_start(greedy(engine, reference.prompt), reference.answer)
        return [
            check_tokenizer(tokens, source),
            check_template(engine, tokens, engine.template, source),
            gate.judge_logits(found, equal, len(reference.answer)),
            gate.judge_skill(skill, reference.skill),
        ]
    finally:
        engine.close()


def compare_exactly(path: Path, reference: Reference, rows: Path, report: Progress) -> tuple[Closeness, list[int]]:
    """Weights and cache in 32 bits against `rows`, and the greedy answer. For `run_apart`."""
    engine = open_file(path, exact=True, context_tokens=1024)
    try:
        return compare(reference.texts, _rows(engine, reference.texts, report), rows), greedy(engine, reference.prompt)
    finally:
        engine.close()


def rewrite_rows(path: Path, texts: list[list[int]], rows: Path, report: Progress) -> None:
    """The base's rows alone. For `run_apart`."""
    engine = open_file(path, context_tokens=1024)
    try:
        _write(engine, texts, rows, report)
    finally:
        engine.close()


def _write(engine: LlamaEngine, texts: list[list[int]], rows: Path, report: Progress) -> None:
    write_rows(rows, texts, _rows(engine, texts, report))


def _rows(engine: LlamaEngine | OnnxEngine, texts: list[list[int]], report: Progress) -> Any:
    for number, ids in enumerate(texts, 1):
        yield from all_rows(engine, ids)
        report("logits", number, len(texts))


def _reference(made: Export, how: How, rows: Path, kept: Kept, progress: Progress | None) -> Reference:
    found = kept.get("base", made.base.sha256)
    if found is None:
        source = made.plan.checkpoint.folder
        reference = run_apart(check_base, made.base.path, source, rows, how, progress=progress).value
        kept.put("base", made.base.sha256, asdict(reference))
        return reference
    checks = [Check(**check) for check in found["checks"]]
    return Reference(**{**found, "skill": Skill(**found["skill"]), "checks": checks})


def _restore_rows(made: Export, reference: Reference, rows: Path, progress: Progress | None) -> None:
    if not rows.is_file():
        run_apart(rewrite_rows, made.base.path, reference.texts, rows, progress=progress)


def _against_torch(made: Export, reference: Reference, kept: Kept, progress: Progress | None) -> Check:
    """The conversion itself: weights in 32 bits against torch, where torch is there and the model fits."""
    found = kept.get("torch", made.base.sha256)
    if found is not None:
        return Check(**found)
    if not torch_model.available():
        return Check("torch", "skipped", reason='torch is not installed: pip install "edgemem-runtime[export]"')
    needed, there = torch_model.ram_bytes(made.plan.checkpoint.parameters), memory_bytes()[1]
    if there < needed:
        return Check(
            "torch", "skipped", reason=f"torch needs {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are available"
        )
    rows = made.plan.out / WORK / "torch.npy"
    exact = _in_32_bits(made, progress)
    try:
        asked = (reference.texts, reference.prompt, reference.ends, GREEDY_TOKENS, rows)
        answer = run_apart(
            torch_model.torch_reference, made.plan.checkpoint.folder, made.plan.lora, *asked, progress=progress
        ).value
        closeness, ours = run_apart(compare_exactly, exact.path, reference, rows, progress=progress).value
    finally:
        rows.unlink(missing_ok=True)
        if exact.path != made.base.path:
            exact.path.unlink(missing_ok=True)
    check = gate.judge_torch(closeness, same_start(ours, answer), max(len(ours), len(answer)))
    kept.put("torch", made.base.sha256, asdict(check))
    return check


def _in_32_bits(made: Export, progress: Progress | None) -> Made:
    plan = made.plan
    if plan.base == "F32":
        return made.base
    path = plan.out / WORK / f"{plan.name}-base-F32.gguf"

    def write(part: Path) -> tuple[float, int]:
        done = run_apart(write_gguf, plan.checkpoint.folder, plan.lora, part, plan.name, "F32", progress=progress)
        return done.seconds, done.peak_rss_bytes

    return Steps(plan.out / WORK).make(path, {"base": made.base.sha256, "type": "F32"}, write)
