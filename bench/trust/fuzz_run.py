"""Coverage-guided fuzzing of every parser of outside input, with atheris: how many executions, and what failed.

Each target starts from the corpus beside this file and from what earlier runs kept in `kept` (a folder of yours), for
its share of the time. An execution that raises anything but our own errors, hangs or takes too much memory is a fault.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput

from .fuzz_targets import TARGETS

CORPUS = Path(__file__).with_name("fuzz_corpus")
MOST_BYTES, MOST_SECONDS_EACH, MOST_MIB = 4096, 20, 2048


@dataclass(frozen=True)
class Row:
    """`edges` is libFuzzer's count of covered edges; `fault` the first error, with `input` where the bytes are."""

    target: str
    executions: int
    seconds: int
    edges: int
    fault: str = ""
    input: str = ""


def run(names: Sequence[str], seconds: int, kept: Path) -> Iterator[dict[str, Any]]:
    """One row per target, as each is done. Raises InvalidInput without atheris, or for an unknown target."""
    if unknown := sorted({*names} - {*TARGETS}):
        raise InvalidInput(f"there is no target {unknown[0]}", f"take some of {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        raise InvalidInput("atheris is not installed", "pip install atheris (Linux and macOS)")
    for name in names or TARGETS:
        yield asdict(_fuzzed(name, max(1, seconds // len(names or TARGETS)), kept))


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for docs/trust.md."""
    lines = ["| target | executions | seconds | edges | fault |", "|---|--:|--:|--:|---|"]
    lines += [
        f"| {r['target']} | {r['executions']:,} | {r['seconds']} | {r['edges']} | {r['fault'] or '-'} |" for r in rows
    ]
    total = sum(row["executions"] for row in rows), sum(row["seconds"] for row in rows)
    faults = sum(bool(row["fault"]) for row in rows)
    return "\n".join([*lines, f"| all | {total[0]:,} | {total[1]} | | {faults} |"]) + "\n"


def replay(name: str, run_once: Callable[[str, bytes], None]) -> int:
    """Run the corpus of one target once, without atheris; how many inputs."""
    inputs = sorted((CORPUS / name).iterdir())
    for path in inputs:
        run_once(name, path.read_bytes())
    return len(inputs)


def _fuzzed(name: str, seconds: int, kept: Path) -> Row:
    mine = kept / name
    mine.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        command = [sys.executable, "-m", "edgemem.bench.trust.fuzz_child", name, str(mine), str(CORPUS / name)]
        command += [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", f"-timeout={MOST_SECONDS_EACH}"]
        command += [f"-rss_limit_mb={MOST_MIB}", "-print_final_stats=1", f"-artifact_prefix={found}/", "-verbosity=1"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        said = done.stdout + done.stderr
        fault = _fault(said) if done.returncode else ""
        return Row(name, *_counts(said, seconds), fault, _saved(Path(found), kept, name))


def _counts(said: str, seconds: int) -> tuple[int, int, int]:
    executed = re.search(r"number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    taken = re.search(r"Done \d+ runs in (\d+) second", said)
    return (
        int(executed.group(1)) if executed else 0,
        int(taken.group(1)) if taken else seconds,
        int(edges[-1]) if edges else 0,
    )


def _fault(said: str) -> str:
    """The error's last line, or what libFuzzer says of a hang."""
    errors = re.findall(r"(?m)^(?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*$|^ALARM.*$|^==\d+== ERROR.*$", said)
    return errors[0][:200] if errors else said.strip()[-200:] or "ended without a word"


def _saved(found: Path, kept: Path, name: str) -> str:
    """Keep the input that failed; where it is."""
    for path in sorted(found.iterdir()):
        target = kept / f"{name}-{path.name}"
        target.write_bytes(path.read_bytes())
        return str(target)
    return ""
