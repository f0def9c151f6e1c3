"""Runs the checks of an export, each model in a process of its own, and keeps what was measured: a check that was
done is not done again for the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemem.engines.llama import LlamaEngine
from edgemem.machine import memory_bytes
from edgemem.prompting.prompts import load_prompts

from .. import torch_model
from ..apart import Progress, run_apart
from ..run import Export
from ..steps import WORK
from . import gate
from .adapter import against_merged
from .exact import in_32_bits
from .kept import How, Kept
from .logits import GREEDY_TOKENS, all_rows, compare, greedy, greedy_prompt, held_out_ids, write_rows
from .opened import open_file, open_onnx
from .skill import measure_skill
from .tokens import check_template, check_tokenizer
from .values import Check, Closeness, Skill, Verdict

if TYPE_CHECKING:
    from edgemem.engines.onnx_engine import OnnxEngine

BASE = "base"
"""Name of the verdict about the conversion itself."""


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
    base_checks += [against_merged(made, kept, progress)] if made.beside else []
    verdicts = [Verdict(BASE, made.base.sha256, tuple(base_checks))]
    for one in made.files:
        found = kept.get("file", made.key(one.made))
        if found is None:
            _restore_rows(made, reference, rows, progress)
            work_done = run_apart(check_file, one.main, made.beside, source, rows, reference, how, progress=progress)
            found = [asdict(check) for check in work_done.value]
            kept.put("file", made.key(one.made), found)
        verdicts.append(Verdict(one.name, one.made.sha256, tuple(Check(**check) for check in found)))
    rows.unlink(missing_ok=True)
    return verdicts


def same_start(one: list[int], other: list[int]) -> int:
    """How many tokens two answers begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def check_base(path: Path, adapter: Path | None, source: Path, rows: Path, how: How, report: Progress) -> Reference:
    """Everything that is asked of the base. For `run_apart`."""
    engine = open_file(path, adapter)
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


def check_file(
    path: Path, adapter: Path | None, source: Path, rows: Path, reference: Reference, how: How, report: Progress
) -> list[Check]:
    """Everything that is asked of a quantization. For `run_apart`."""
    engine = open_onnx(path) if path.suffix == ".onnx" else open_file(path, adapter)
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


def compare_exactly(
    path: Path, adapter: Path | None, reference: Reference, rows: Path, report: Progress
) -> tuple[Closeness, list[int]]:
    """Weights and cache in 32 bits against `rows`, and the greedy answer. For `run_apart`."""
    engine = open_file(path, adapter, exact=True, context_tokens=1024)
    try:
        return compare(reference.texts, _rows(engine, reference.texts, report), rows), greedy(engine, reference.prompt)
    finally:
        engine.close()


def rewrite_rows(path: Path, adapter: Path | None, texts: list[list[int]], rows: Path, report: Progress) -> None:
    """The base's rows alone. For `run_apart`."""
    engine = open_file(path, adapter, context_tokens=1024)
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
    found = kept.get("base", made.key(made.base))
    if found is None:
        source = made.plan.checkpoint.folder
        reference = run_apart(check_base, made.base.path, made.beside, source, rows, how, progress=progress).value
        kept.put("base", made.key(made.base), asdict(reference))
        return reference
    checks = [Check(**check) for check in found["checks"]]
    return Reference(**{**found, "skill": Skill(**found["skill"]), "checks": checks})


def _restore_rows(made: Export, reference: Reference, rows: Path, progress: Progress | None) -> None:
    if not rows.is_file():
        run_apart(rewrite_rows, made.base.path, made.beside, reference.texts, rows, progress=progress)


def _against_torch(made: Export, reference: Reference, kept: Kept, progress: Progress | None) -> Check:
    """The conversion itself: weights in 32 bits against torch, where torch is there and the model fits."""
    found = kept.get("torch", made.key(made.base))
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
    try:
        with in_32_bits(made, made.plan.merged, progress) as exact:
            asked = (reference.texts, reference.prompt, reference.ends, GREEDY_TOKENS, rows)
            answer = run_apart(
                torch_model.torch_reference, made.plan.checkpoint.folder, made.plan.lora, *asked, progress=progress
            ).value
            closeness, ours = run_apart(compare_exactly, exact, made.beside, reference, rows, progress=progress).value
    finally:
        rows.unlink(missing_ok=True)
    check = gate.judge_torch(closeness, same_start(ours, answer), max(len(ours), len(answer)))
    kept.put("torch", made.key(made.base), asdict(check))
    return check
