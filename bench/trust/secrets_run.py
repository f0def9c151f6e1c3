"""How many secrets of our own set reach the disk, and how many harmless lines are taken for one. No model is needed.

Two gates are measured, each alone. *Journal*: the sentence is said in a chat and repeated by the answer; then the bytes
of all files of the user are searched. *Memory*: masking is off, and a model that wants to keep everything proposes the
sentence and the bare secret; what the checker lets through counts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgemem.memory.check import check
from edgemem.memory.document import parse
from edgemem.memory.lines import memory_of
from edgemem.memory.private_data import find_private
from edgemem.store import open_store
from edgemem.values import BUDGET_TOKENS, Operation, Stats, Turn

from .secret_set import SecretCase, harmless_lines, secret_cases

WHEN = datetime(2026, 11, 25, 12, tzinfo=UTC)


def measure(data: Path | None) -> dict[str, Any]:
    """Rows per kind, misses with their places, and false alarms on public sets in `data` (None: left out)."""
    cases = secret_cases()
    in_journal = [case for case in cases if leaks(_kept(case), case.values)]
    in_memory = [case for case in cases if any(leaks(text, case.values) for text in _accepted(case))]
    kinds = sorted({case.kind for case in cases})
    lines = harmless_lines(data) if data else []
    alarms = [(found[0].kind, line[found[0].start : found[0].end]) for line in lines if (found := find_private(line))]
    return {
        "kinds": [_row(kind, cases, in_journal, in_memory) for kind in [*kinds, ""]],
        "missed": [[case.kind, case.language, case.frozen] for case in in_journal + in_memory],
        "harmless_lines": len(lines),
        "false_alarms": alarms,
    }


def markdown(found: dict[str, Any]) -> str:
    """The table and the false alarms, for docs/trust.md."""
    rows = ["| kind | cases | in the journal | in memory | of the frozen half |", "|---|--:|--:|--:|--:|"]
    for row in found["kinds"]:
        name = row["kind"].replace("_", " ") or "all"
        rows.append(f"| {name} | {row['cases']} | {row['journal']} | {row['memory']} | {row['frozen']} |")
    if total := found["harmless_lines"]:
        share = 100 * len(found["false_alarms"]) / total
        rows += ["", f"False alarms: {len(found['false_alarms'])} of {total} harmless lines ({share:.2f} %)."]
        rows += [f"- {kind}: `{text}`" for kind, text in found["false_alarms"]]
    return "\n".join(rows) + "\n"


def leaks(text: str, values: Sequence[str]) -> bool:
    """Whether `text` still has a secret: a part of it with a digit, or more than half of its words."""
    parts = [part for value in values for part in re.findall(r"\w+", value)]
    left = [part for part in parts if re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text)]
    return 2 * len(left) > len(parts) or any(any(map(str.isdigit, part)) for part in left)


def _row(kind: str, cases: Sequence[SecretCase], journal: Sequence[SecretCase], memory: Sequence[SecretCase]) -> Any:
    def count(of: Sequence[SecretCase], frozen: bool = False) -> int:
        return sum((not kind or case.kind == kind) and (case.frozen or not frozen) for case in of)

    missed = list({id(case): case for case in (*journal, *memory)}.values())
    frozen = f"{count(missed, frozen=True)} of {count(cases, frozen=True)}"
    return {"kind": kind, "cases": count(cases), "journal": count(journal), "memory": count(memory), "frozen": frozen}


def _kept(case: SecretCase) -> str:
    """All readable text in the bytes of the user's files after a chat about the secret."""
    with tempfile.TemporaryDirectory() as folder:
        with open_store(Path(folder), "bench") as store:
            chat = store.start_chat()
            said = re.search(rf"\w*{re.escape(case.values[0])}", case.text)  # with the prefix that tells its kind
            again = said.group() if said else ""
            store.add_exchange(chat, case.text, f"You said: {case.text} And: {again}", WHEN, WHEN, Stats())
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        text = "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00|\{\"prompt_tokens.*?\}", " ", text)
    return "\n".join(re.findall(r"(?:You said: .*|.*\[masked .*)", text))  # no schema


def _accepted(case: SecretCase) -> list[str]:
    memory = memory_of(parse(""), ())
    turn = Turn(1, 1, "user", case.text, WHEN)
    wanted = [case.text.rstrip("?¿ "), *case.values, *(f"The user's is {value}" for value in case.values)]
    found: list[str] = []
    for text in wanted:
        operation = Operation("add", section="About", text=text, sources=(1,))
        found += [one.text for one in check([operation], memory, [turn], BUDGET_TOKENS, len).operations]
    return found
