"""README.md of a model folder, as the hub shows it: front matter, the ladder of files, how to use them. Pure."""

from __future__ import annotations

from typing import Any

SHOWN = ("kl", "top1", "perplexity")


def model_card(manifest: dict[str, Any]) -> str:
    """The page for `manifest` (docs/export.md says what is in one)."""
    source, variants = manifest["source"], manifest["variants"]
    parts = [
        _front_matter(manifest),
        f"# {manifest['name']}",
        f"Quantized from `{source['name']}` ({source['architecture']}, {source['parameters'] / 1e6:,.1f} M weights, "
        f"{source['precision']}) by `{manifest['command']}`. Every file was checked against the original; what was "
        "measured, the tools' versions and the digests of all files are in `manifest.json`.",
        "## Files",
        _ladder(variants),
        _legend(variants),
        *_refused(manifest["refused"]),
        "## The conversion itself",
        _conversion(manifest["base_checks"]),
        "## Use",
        _use(variants[0]),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(manifest: dict[str, Any]) -> str:
    source = manifest["source"]
    lines = ["---"]
    lines += [f"license: {source['licence']}"] if source["licence"] else []
    kind = manifest["variants"][0]["format"]
    library = "onnxruntime" if kind == "onnx" else "gguf"
    lines += [f"library_name: {library}", "pipeline_tag: text-generation", "tags:", f"- {kind}"]
    lines += [f"- {source['architecture']}"]
    return "\n".join([*lines, "- quantized", "- edgemem", "---"])


def _ladder(variants: list[dict[str, Any]]) -> str:
    rows = ["| quantization | size | KL | top 1 | perplexity | facts kept | wrong lines | checks |", "|" + "---|" * 8]
    for one in variants:
        checks = {check["name"]: check["measured"] for check in one["checks"]}
        logits, skill = checks.get("logits", {}), checks.get("skill", {})
        cells = [
            one["quantization"],
            f"{sum(file['size_bytes'] for file in one['files']) / 1e9:.3f} GB",
            *(f"{logits[key]:.4g}" if key in logits else "-" for key in SHOWN),
            f"{skill['kept']}/{skill['planted']}" if skill else "-",
            str(skill["wrong_lines"] + skill["stale_left"]) if skill else "-",
            "passed" if one["passed"] else "**failed, kept on request**: " + "; ".join(one["reasons"]),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _legend(variants: list[dict[str, Any]]) -> str:
    reference = next((check for check in variants[0]["checks"] if check["name"] == "logits"), None)
    text = (
        "KL: mean divergence from the unquantized model in nats per token, on held-out text; top 1: share of equal "
        "first choices; facts kept and wrong lines: the memory skill, twelve chats learned by the shipped assistant."
    )
    if reference:
        text += f" The unquantized model's perplexity is {reference['measured']['reference_perplexity']:.4g}."
    return text


def _refused(refused: dict[str, list[str]]) -> list[str]:
    if not refused:
        return []
    return ["Left out: " + "; ".join(f"{name} ({', '.join(why)})" for name, why in sorted(refused.items())) + "."]


def _conversion(checks: list[dict[str, Any]]) -> str:
    lines = []
    for check in checks:
        measured = check["measured"]
        if check["name"] == "torch" and measured:
            lines.append(
                f"- 32-bit logits against torch: largest difference {measured['max_difference']:.2g}; "
                f"{measured['greedy_equal']} of {measured['greedy']} greedy tokens equal: {check['status']}"
            )
        else:
            extra = f" ({check['reason']})" if check["reason"] else ""
            lines.append(f"- {check['name']}: {check['status']}{extra}")
    return "\n".join(lines)


def _use(best: dict[str, Any]) -> str:
    file = best["files"][0]["file"]
    if best["format"] == "onnx":
        return (
            "With edgemem: `edgemem chat --model FOLDER`, where FOLDER is this folder. Each precision is a folder that "
            "onnxruntime-genai loads, too, where its model builder made it."
        )
    adapter = next((one["file"] for one in best["files"] if one.get("adapter")), "")
    beside = f" and, on a line of its own, `ADAPTER ./{adapter}`" if adapter else ""
    return f"""With edgemem: `edgemem chat --model FOLDER`, where FOLDER is this folder.

With Ollama: put `FROM ./{file}`{beside} into a file called `Modelfile`, then `ollama create my-model -f Modelfile`. The
chat template is inside the file.

With LM Studio: put the file into `models/PUBLISHER/MODEL/` of its folder of models.

Text is to be in Unicode NFC: llama.cpp does not normalize it, the original tokenizer may."""
