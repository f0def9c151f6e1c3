"""What the export commands print: plans, files and checks, as text and as facts for --json."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgemem.cli.output import Output, size

if TYPE_CHECKING:
    from ..preflight import Plan
    from ..run import Export
    from ..verify.values import Check, Verdict


def styled(out: Output, status: str) -> str:
    return out.styled(status, {"passed": "green", "failed": "red"}.get(status, "dim"))


def measures(check: Check) -> str:
    shown = {
        "tokenizer": ("texts", "different"),
        "template": ("chats", "different"),
        "torch": ("max_difference", "greedy_equal"),
        "adapter": ("prompts", "top1"),
        "logits": ("kl", "top1", "perplexity"),
        "skill": ("kept", "planted", "wrong_lines", "own_notes", "seconds"),
    }.get(check.name, ())
    values = " ".join(f"{key} {check.measured[key]}" for key in shown if key in check.measured)
    return f"{values} {check.reason}".strip()


def verdict_facts(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict) | {"passed": verdict.passed, "reasons": verdict.reasons}


def show_plan(plan: Plan, out: Output) -> None:
    network, checkpoint = plan.network, plan.checkpoint
    out.note(
        f"{checkpoint.name}: {network.architecture}, {checkpoint.parameters / 1e6:,.1f} M weights in {plan.base}, "
        f"{network.layers} layers, {'tied' if network.tied else 'untied'} embedding, {network.vocabulary:,} tokens "
        f"({plan.vocabulary.pre_tokenizer})"
    )
    out.note(f"about {size(plan.disk_bytes)} of disk while it runs, {size(plan.ram_bytes)} of memory")
    for note in plan.notes:
        out.warn(note)


def plan_facts(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "out": plan.out,
        "architecture": plan.network.architecture,
        "parameters": plan.checkpoint.parameters,
        "base": plan.base,
        "file_bytes": plan.file_bytes,
        "disk_bytes": plan.disk_bytes,
        "ram_bytes": plan.ram_bytes,
        "adapter": "kept" if plan.keep_adapter else "merged" if plan.lora else None,
        "notes": plan.notes,
    }


def show_export(made: Export, out: Output) -> None:
    rows = [
        (one.name, size(one.size_bytes), _types(one.types), f"{one.made.seconds:.1f} s", one.made.path.name)
        for one in made.files
    ]
    out.table(("", "size", "matrices", "made in", "file"), rows)
    for one in made.files:
        if one.fallbacks:
            kinds = sorted(set(one.fallbacks.values()))
            out.warn(f"{one.name}: {len(one.fallbacks)} matrices are {', '.join(kinds)}, since their rows do not fit")
    out.note(f"peak memory {size(made.peak_rss_bytes)} (estimated {size(made.plan.ram_bytes)})")


def export_facts(made: Export) -> dict[str, Any]:
    return plan_facts(made.plan) | {"peak_rss_bytes": made.peak_rss_bytes, "files": _file_facts(made)}


def _types(types: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in types.items())


def _file_facts(made: Export) -> list[dict[str, Any]]:
    return [
        {
            "quantization": one.name,
            "path": one.made.path,
            "size_bytes": one.size_bytes,
            "sha256": one.made.sha256,
            "seconds": one.made.seconds,
            "peak_rss_bytes": one.made.peak_rss_bytes,
            "again": one.made.again,
            "types": one.types,
            "fallbacks": one.fallbacks,
        }
        for one in made.files
    ]
