"""README's measured figures come from rows under docs/results, and a wrong one is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bench_run_report import rows

from edgemem.bench.figures import figures, unmarked, value_of, wrong
from edgemem.bench.rows import read_rows

MARK = "<!-- figure: docs/results/x/rows.jsonl task=t arm={arm} of={of} -->"


def marked(number: str, arm: str, of: str) -> str:
    return f"The memory reaches {number}{MARK.format(arm=arm, of=of)}, as seen."


def test_every_figure_of_the_readme_is_what_its_rows_say(source_root: Path) -> None:
    text = (source_root / "README.md").read_text("utf-8")
    assert unmarked(text) == [], "a measured figure names no rows"
    assert all(figure.file.startswith("docs/results/") for figure in figures(text))
    assert wrong(text, lambda file: read_rows([source_root / file])) == []


@pytest.mark.parametrize(
    ("number", "arm", "of"),
    [
        *[("67 %", "memory", "strict"), ("66.7 %", "memory", "strict"), ("**67 %**", "memory", "strict")],
        *[("4,600 tokens", "full_history", "input_tokens"), ("6.5 s", "full_history", "cold_total_s")],
    ],
)
def test_a_right_figure_passes(number: str, arm: str, of: str) -> None:
    assert wrong(marked(number, arm, of), lambda file: rows()) == []


@pytest.mark.parametrize(
    ("number", "arm", "of", "words"),
    [
        ("68 %", "memory", "strict", "the rows say 67"),
        ("66.6 %", "memory", "strict", "the rows say 66.7"),
        ("6.4 s", "full_history", "cold_total_s", "the rows say 6.5"),
        ("50 %", "oracle", "strict", "0 arms fit"),
        ("50 %", "memory", "f1", "nothing was measured"),
    ],
)
def test_a_wrong_figure_is_found(number: str, arm: str, of: str, words: str) -> None:
    (problem,) = wrong(marked(number, arm, of), lambda file: rows())
    assert words in problem


def test_a_figure_of_several_models_has_to_say_which() -> None:
    both = [*rows(), *(row | {"model": "n", "model_digest": "e" * 64} for row in rows())]
    with pytest.raises(LookupError, match="2 arms fit"):
        value_of(both, {"task": "t", "arm": "memory", "of": "strict"})
    assert value_of(both, {"task": "t", "model": "n", "arm": "memory", "of": "strict"}) == pytest.approx(200 / 3)


def test_rows_that_are_not_there_are_a_problem_and_not_an_exception(tmp_path: Path) -> None:
    (problem,) = wrong(marked("67 %", "memory", "strict"), lambda file: (tmp_path / file).read_text() and [])
    assert "No such file" in problem


def test_a_figure_without_a_mark_and_a_mark_without_a_figure_are_found() -> None:
    assert unmarked("It answers 41 % with 16 times fewer tokens, of at most 2,048 tokens.") == [
        "41 %",
        "16 times fewer",
    ]
    assert unmarked(marked("67 %", "memory", "strict")) == []
    for text in (MARK.format(arm="memory", of="strict"), "5 % <!-- figure: x -->", "5 % <!-- figure: x task=t -->"):
        with pytest.raises(ValueError, match=r"figure|does not name"):
            figures(text)
