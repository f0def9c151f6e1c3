"""All quantizations of one checkpoint side by side: sizes, checks, speed and memory, as rows and as a table.

Everything is kept in one work folder, so a run that was stopped goes on where it was. Nothing is packed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgemem.errors import EdgememError, InvalidInput
from edgemem.machine import cpu_model, usable_threads

from .apart import Progress, run_apart
from .dequantize import VERSION as DEQUANTIZE
from .dequantize import write_checkpoint
from .request import Request
from .run import OWN, Export, Quantized, tool_versions
from .steps import WORK, Steps, write_text
from .verify.kept import How, Kept
from .verify.run import verify
from .verify.speed import measure_speed
from .verify.values import Verdict

GGUF = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
ONNX = ("int8", "int4")
ROWS, TABLE = "ladder.jsonl", "ladder.md"


@dataclass(frozen=True)
class Ladder:
    """What is compared. `dequantized` names the GGUF that the checkpoint was made of, '' for an original one."""

    source: Path
    out: Path
    name: str
    gguf: Sequence[str]
    onnx: Sequence[str]
    how: How
    imatrix: str = ""
    origin: str = ""
    dequantized: str = ""


def dequantized(model: Path, sha256: str, out: Path, name: str, progress: Progress | None = None) -> Path:
    """A checkpoint of the GGUF `model` in the work folder of `out`; made once."""
    inputs = {"gguf": sha256, "version": DEQUANTIZE}

    def write(part: Path) -> tuple[float, int]:
        done = run_apart(write_checkpoint, model, part, progress=progress)
        return done.seconds, done.peak_rss_bytes

    return Steps(out / WORK).make(out / WORK / f"{name}-checkpoint", inputs, write).path


def climb(ladder: Ladder, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Make, check and time every file; rows and table are written after each format.

    What a preflight refuses is a row with the reason. Raises as `export_gguf` and `verify`.
    """
    rows: list[dict[str, Any]] = []
    for format_, names in (("gguf", ladder.gguf), ("onnx", ladder.onnx)):
        if names:
            rows += _format(ladder, format_, names, progress)
            _write(ladder, rows)
    return rows


def _format(ladder: Ladder, format_: str, names: Sequence[str], progress: Progress | None) -> list[dict[str, Any]]:
    onnx, how = format_ == "onnx", ladder.how
    asked = Request(str(ladder.source), ladder.name, tuple(names), ladder.imatrix, how.prompts, how.policy, format_)
    request = replace(asked, origin=ladder.origin)
    try:
        plan = request.plan(ladder.out)
    except EdgememError as error:
        if not onnx:
            raise
        return [{"format": format_, "quantization": name, "refused": error.message} for name in names]
    made = request.make(plan, progress)
    verdicts = verify(made, how, progress)
    kept = Kept(ladder.out / WORK / "checks.json", how)
    rows = [] if onnx else [_base(made, verdicts, kept)]
    for one, verdict in zip(made.files, verdicts[1:], strict=True):
        rows.append(_row(one, verdict, _speed(made, one, kept, progress)))
    return rows


def _base(made: Export, verdicts: Sequence[Verdict], kept: Kept) -> dict[str, Any]:
    """What all others are compared with."""
    verdict, skill = verdicts[0], kept.get("base", made.key(made.base))["skill"]
    perplexity = verdicts[1].measured("logits").get("reference_perplexity")
    facts: dict[str, Any] = {"format": "gguf", "quantization": f"base {made.plan.base}", "base": True}
    facts |= {"size_bytes": made.base.path.stat().st_size, "sha256": made.base.sha256}
    facts |= {"passed": verdict.passed, "reasons": verdict.reasons}
    return facts | {"checks": _measured(verdict) | {"skill": skill, "logits": {"perplexity": perplexity}}}


def _row(one: Quantized, verdict: Verdict, speed: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"format": one.format, "quantization": one.name, "size_bytes": one.size_bytes}
    facts |= {"sha256": one.made.sha256, "types": one.types, "fallbacks": len(one.fallbacks)}
    facts |= {"made_in_s": round(one.made.seconds, 1), "made_rss_bytes": one.made.peak_rss_bytes}
    return facts | {"passed": verdict.passed, "reasons": verdict.reasons, "checks": _measured(verdict), **speed}


def _measured(verdict: Verdict) -> dict[str, Any]:
    return {check.name: {"status": check.status, **check.measured} for check in verdict.checks}


def _speed(made: Export, one: Quantized, kept: Kept, progress: Progress | None) -> dict[str, Any]:
    key = f"{made.key(one.made)} {cpu_model()} {usable_threads()}"
    found: dict[str, Any] | None = kept.get("speed", key)
    if found is None:
        done = run_apart(measure_speed, one.main, made.beside, progress=progress)
        found = asdict(done.value) | {"rss_bytes": done.peak_rss_bytes}
        kept.put("speed", key, found)
    return found


def _write(ladder: Ladder, rows: list[dict[str, Any]]) -> None:
    head: dict[str, Any] = {
        "name": ladder.name,
        "source": ladder.origin or ladder.source.name,
        "dequantized": ladder.dequantized,
    }
    head |= {"cpu": cpu_model(), "threads": usable_threads(), "policy": ladder.how.policy, "tools": tool_versions()}
    for name, text in ((ROWS, "".join(json.dumps(row) + "\n" for row in (head, *rows))), (TABLE, table(head, rows))):
        write_text(ladder.out / name, text)


HEAD = (
    *("file", "size", "perplexity", "KL", "top 1", "facts kept", "wrong lines", "s/update"),
    *("prefill", "decode", "memory", "gate"),
)


def table(head: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The page. Pure."""
    lines = [f"# {head['name']}: the ladder of quantizations", ""]
    lines += [f"{head['cpu']}, {head['threads']} threads, policy `{head['policy']}`, " + _tools(head["tools"]) + "."]
    lines += ["Speeds in tokens/s (256 read, 32 written, best of three); memory is the process's peak in that."]
    if head["dequantized"]:
        lines += [
            f"The checkpoint was turned back from `{head['dequantized']}`, so this shows that export and gate work, "
            "and not which quantization is best: what that file had lost is the reference here."
        ]
    lines += ["", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _tools(tools: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in tools.items())


def _cells(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['format']} {row['quantization']}"
    if "refused" in row:
        yield from ["-"] * (len(HEAD) - 2)
        yield f"not made: {row['refused']}"
        return
    logits, skill = row["checks"].get("logits", {}), row["checks"].get("skill", {})
    yield f"{row['size_bytes'] / 1e9:.3f} GB"
    yield from (f"{logits[key]:.4g}" if key in logits else "-" for key in ("perplexity", "kl", "top1"))
    yield f"{skill['kept']}/{skill['planted']}" if "kept" in skill else "-"
    yield str(skill["wrong_lines"] + skill["stale_left"]) if "kept" in skill else "-"
    yield f"{skill['seconds']:.2f}" if "seconds" in skill else "-"
    yield from (f"{row[key]:.1f}" if key in row else "-" for key in ("prefill_tokens_s", "decode_tokens_s"))
    yield f"{row['rss_bytes'] / 1e9:.2f} GB" if "rss_bytes" in row else "-"
    yield "passed" if row["passed"] else "**refused**: " + "; ".join(row["reasons"])


def check_names(imatrix: str, gguf: Sequence[str], onnx: Sequence[str]) -> None:
    """Raises InvalidInput where there is nothing to compare, or the matrix is neither ours nor a file."""
    if not gguf and not onnx:
        raise InvalidInput("there is nothing to compare", "name quantizations: --quant Q8_0,Q4_K_M")
    if imatrix not in ("", OWN) and not Path(imatrix).is_file():
        raise InvalidInput(f"there is no file {imatrix}", "use --imatrix own, or the path of one")
