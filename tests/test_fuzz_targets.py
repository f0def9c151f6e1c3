"""The parsers of outside input raise our own errors only: the corpus, damaged seeds, and arbitrary bytes.

`edgemem bench trust fuzz` does the same for longer, guided by coverage.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgemem.bench.trust import fuzz_run, fuzz_targets
from edgemem.bench.trust.fuzz_run import CORPUS, markdown, replay
from edgemem.bench.trust.fuzz_targets import TARGETS, run_once
from edgemem.errors import InvalidInput


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_of_each_parser(name: str) -> None:
    assert replay(name, run_once) == len(list((CORPUS / name).iterdir())) > 0


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_seeds(name: str) -> None:
    chance = random.Random(20261125)
    for path in sorted((CORPUS / name).iterdir()):
        whole = path.read_bytes()
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 5)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            run_once(name, bytes(data[: chance.randrange(1, len(data) + 1)]))


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes(name: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
    def anything(data: bytes) -> None:
        run_once(name, data)

    anything()


def test_an_error_that_is_not_ours_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(data: bytes) -> None:
        json.loads(data)["memory"]

    monkeypatch.setitem(fuzz_targets.TARGETS, "card", careless)
    with pytest.raises(KeyError):
        run_once("card", b"{}")


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no target nothing"):
        next(fuzz_run.run(["nothing"], 1, tmp_path))


@pytest.mark.slow
def test_a_short_run_counts_its_executions(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the fuzzer is no dependency; it has wheels for some systems only")
    (row,) = fuzz_run.run(["rows"], 3, tmp_path)
    assert (row["target"], row["fault"]) == ("rows", "")
    assert row["executions"] > 100
    assert row["edges"] > 0
    assert markdown([row]).count("\n") == 4


def test_what_libfuzzer_says_of_a_fault_is_read() -> None:
    said = "x\n   === Uncaught Python exception: ===\nEOFError: cut\nTraceback\nstat::number_of_executed_units: 12\n"
    assert fuzz_run._fault(said) == "EOFError: cut"
    assert fuzz_run._counts(said + "#9 NEW cov: 7 ft: 8\nDone 12 runs in 3 second(s)\n", 5) == (12, 3, 7)
    assert sys.executable
