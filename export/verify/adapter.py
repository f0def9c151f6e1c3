"""Base with the adapter loaded at run time against base with the adapter merged: the same first tokens?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgemem.engines.llama import LlamaEngine
from edgemem.values import Message

from ..apart import Progress, run_apart
from ..own_texts import short_prompts
from ..run import Export
from . import gate
from .exact import in_32_bits, lacking
from .kept import Kept
from .logits import log_softmax
from .opened import open_file
from .values import Check

PROMPTS = 200


def against_merged(made: Export, kept: Kept, progress: Progress | None) -> Check:
    """Merge the adapter into a base for a moment, and ask both for what comes after 200 prompts.

    In 32 bits: weights merged in bfloat16 are rounded, by which 14 of 200 first tokens changed in a random Qwen3 of
    0.6 B weights (none in 32 bits).
    """
    found = kept.get("adapter", made.key(made.base))
    if found is not None:
        return Check(**found)
    if reason := lacking(made, files=2):
        return Check("adapter", "skipped", reason=reason)
    with in_32_bits(made, "", progress) as base, in_32_bits(made, made.plan.lora, progress) as merged:
        check = run_apart(compare_adapter, base, made.beside, merged, PROMPTS, progress=progress).value
    kept.put("adapter", made.key(made.base), asdict(check))
    return check


def compare_adapter(base: Path, adapter: Path | None, merged: Path, count: int, report: Progress) -> Check:
    """The check. For `run_apart`: one model after the other is in memory."""
    prompts, answers = short_prompts(count), []
    for label, opened in (("with adapter", (base, adapter)), ("merged", (merged, None))):
        engine = open_file(*opened, exact=True, context_tokens=1024)
        try:
            answers.append(last_rows(engine, prompts, label, report))
        finally:
            engine.close()
    beside, inside = answers
    equal = int(np.sum(beside.argmax(1) == inside.argmax(1)))
    pairs = ((log_softmax(theirs), log_softmax(mine)) for theirs, mine in zip(inside, beside, strict=True))
    kl = float(np.mean([np.sum(np.exp(theirs) * (theirs - mine)) for theirs, mine in pairs]))
    return gate.judge_adapter(len(prompts), equal, kl)


def last_rows(engine: LlamaEngine, prompts: Sequence[str], label: str, report: Progress) -> NDArray[np.float32]:
    """The logits of the first token of each answer: prompts x vocabulary."""
    rows: list[Any] = []
    for number, prompt in enumerate(prompts, 1):
        session = engine.open()
        try:
            rows += engine.binding.decode(session.rows(engine.render([Message("user", prompt)])[:512]))
        finally:
            session.close()
        report(label, number, len(prompts))
    return np.array(rows)
