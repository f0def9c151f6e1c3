"""The encoder of `rag_dense`: what is alike in meaning is near, whatever the words; and the arm that uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_run_child import chosen

from edgemem.bench.encoder import nearest, open_encoder
from edgemem.bench.rows import Setup
from edgemem.bench.run import Run
from edgemem.bench.values import CannotRun
from edgemem.engines.scripted import ScriptedEngine
from edgemem.prompting.prompts import load_prompts

TEXTS = ["Bus 9 leaves the harbour at noon.", "My doctor forbids me nuts.", "We painted the kitchen green."]


def test_vectors_have_length_one_and_do_not_depend_on_their_batch(encoder_folder: Path) -> None:
    encoder = open_encoder(encoder_folder)
    together, alone = encoder.encode(TEXTS), np.vstack([encoder.encode([text]) for text in TEXTS])
    assert together.shape == (3, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(together - alone).max() < 1e-2  # int8 weights: padding moves the last digits


def test_the_nearest_text_shares_the_meaning_and_no_word(encoder_folder: Path) -> None:
    assert nearest(TEXTS, "Which food allergies are known?", encoder_folder)[0] == 1
    assert nearest(TEXTS, "When can I take public transport?", encoder_folder)[0] == 0


def test_the_arm_takes_the_nearest_parts_up_to_the_size_of_the_memory(encoder_folder: Path, tmp_path: Path) -> None:
    case = next(case for case in chosen() if "Florence" in case.question)
    engine = ScriptedEngine(lambda prompt: "(a)")
    setup = Setup(engine, load_prompts(), encoder=encoder_folder)
    row = [step.row for step in Run(setup, [case], ["rag_dense"], tmp_path / "rows.jsonl").steps()][-1]
    assert row["status"] == "ok", row
    assert "drawing course in Florence" in engine.prompts[-1]
    assert row["prompt_tokens"] < 300


def test_without_the_encoder_the_arm_says_how_to_get_it(tmp_path: Path) -> None:
    setup = Setup(ScriptedEngine(lambda prompt: "(a)"), load_prompts())
    row = [step.row for step in Run(setup, chosen()[:1], ["rag_dense"], tmp_path / "rows.jsonl").steps()][-1]
    assert (row["status"], row["reason"]) == (
        "cannot run",
        "minilm-l6 is not on this machine: edgemem model pull minilm-l6",
    )
    with pytest.raises(CannotRun):
        open_encoder(None)
