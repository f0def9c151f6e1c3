"""`edgemem doctor`: what was found on this machine, what edgemem uses, and whether a chat would work."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from edgemem import machine
from edgemem.cli.open import places_for
from edgemem.cli.options import Run, common
from edgemem.cli.output import size
from edgemem.errors import EdgememError, ModelMissing
from edgemem.settings import unknown_variables

State = Literal["ok", "note", "problem"]
MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "red")}

BUILD_NAMES = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx_vnni": "AVX_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "fma": "FMA",
    "f16c": "F16C",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}
"""The kernel's name of a CPU feature, and llama.cpp's."""

REBUILD = "pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python builds it for this CPU"


@dataclass(frozen=True)
class Finding:
    """One line of the report. A `problem` means that a chat would not work; `hint` is what to do."""

    name: str
    value: str
    state: State = "ok"
    hint: str = ""


@common
def doctor(
    run: Run,
    prove: Annotated[
        bool, typer.Option("--prove-offline", help="Chat, learn and report with every socket refused.")
    ] = False,
) -> None:
    """Report what was found and what is used; exit code 1 when a chat would not work, with what to do."""
    if prove:
        _prove(run)
        return
    findings = [
        *_software(),
        *_processor(run),
        *_build(),
        *_space(run),
        *_model(run),
        *_tuning(run),
        *_folders(run),
        *_settings(run),
    ]
    _tell(run, "works", findings, "a chat would work", "a chat would not work yet: see the lines marked ✗")


def _prove(run: Run) -> None:
    from edgemem.cli.prove_offline import prove_offline

    found = prove_offline(run)
    tried, modes = found["sockets_tried"], found["wrong_modes"]
    where = "a network namespace of its own, without routes" if found["namespace"] else "the system's network namespace"
    hint = "" if found["namespace"] else "libraries that are not Python could open one: run it under `unshare -rn`"
    findings = [
        Finding("refusal", "a socket is refused" if found["refuses"] else "not at work", _good(found["refuses"])),
        Finding("network", where, "ok" if found["namespace"] and not found["routes"] else "note", hint),
        Finding("chat", f"{found['answer_characters']} characters", _good(found["answer_characters"] > 0)),
        Finding("update", f"{found['learned_turns']} messages learned", _good(found["learned_turns"] == 1)),
        Finding("report", f"{len(found['lines'])} lines with their origin", _good(len(found["report"]) > 0)),
        Finding("sockets tried", str(len(tried)) + "".join(f", {one}" for one in tried), _good(not tried)),
        Finding(
            "file modes", "only for the owner" if not modes else f"others may read {', '.join(modes)}", _good(not modes)
        ),
    ]
    _tell(run, "proved", findings, "no network was used", "this proves nothing: see the lines marked ✗")


def _good(good: bool) -> State:
    return "ok" if good else "problem"


def _tell(run: Run, key: str, findings: list[Finding], good: str, bad: str) -> None:
    """The findings, and `key` in JSON or the words for it: whether none is a problem. Exit code 1 if one is."""
    fine = all(finding.state != "problem" for finding in findings)
    if run.output.json:
        run.output.data({key: fine, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(run, findings, good if fine else bad)
    if not fine:
        raise typer.Exit(1)


def _show(run: Run, findings: list[Finding], last: str) -> None:
    output = run.output
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, colour = MARKS[finding.state]
        output.text(f"{output.styled(mark, colour)} {finding.name.ljust(width)}  {finding.value}")
        if finding.hint:
            output.text(f"  {' ' * width}  → {finding.hint}")
    output.text(f"\n{last}")


def _software() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield Finding("Python", f"{platform.python_version()} on {system}")
    try:
        yield Finding("edgemem", version("edgemem-runtime"))
    except PackageNotFoundError:
        yield Finding("edgemem", "version unknown (not installed as a package)", "note")


def _processor(run: Run) -> Iterator[Finding]:
    quota, cores, allowed = machine.cgroup_cpus(), machine.physical_cores(), machine.allowed_cpus()
    yield Finding("CPU", f"{machine.cpu_model()} ({', '.join(machine.cpu_features()) or 'features unknown'})")
    limit = f"{quota:g} CPUs" if quota is not None else "none"
    yield Finding(
        "cores", f"{cores} physical, {allowed} logical CPUs allowed to this process, container quota: {limit}"
    )
    chosen = run.settings.threads
    reason = run.settings.sources["threads"] if chosen else "the least of physical cores, allowed CPUs and quota"
    yield Finding("threads used", f"{chosen or machine.usable_threads()} ({reason})")
    total, free = machine.memory_bytes()
    yield Finding("RAM", f"{size(free)} free of {size(total)}")


def _build() -> Iterator[Finding]:
    """What the installed llama-cpp-python can do, against what the CPU can."""
    try:
        from edgemem.engines.llama_binding import VERSION, gpu_offload_supported, system_info

        built, gpu = system_info(), gpu_offload_supported()
    except (ImportError, OSError, RuntimeError, EdgememError) as error:
        hint = "pip install llama-cpp-python (needs a C++ compiler and cmake)"
        yield Finding("llama-cpp-python", f"cannot be loaded: {error}", "problem", hint)
        return
    used = built_features(built)
    yield Finding("llama-cpp-python", f"{VERSION}, built with {', '.join(used) or 'no special instructions'}")
    unused = [name for name in machine.cpu_features() if name in BUILD_NAMES and BUILD_NAMES[name] not in used]
    if unused:
        yield Finding("not used", f"this CPU also has {', '.join(unused)}", "note", REBUILD)
    yield Finding("GPU", "the build can put layers on a GPU" if gpu else "the build has no GPU support: CPU only")


def built_features(system_info: str) -> list[str]:
    """The names that stand with `= 1` in llama.cpp's own description of its build."""
    parts = (part.rpartition(":")[2].partition("=") for part in system_info.split("|"))
    return [name.strip() for name, _, value in parts if value.strip() == "1"]


def _space(run: Run) -> Iterator[Finding]:
    from edgemem.catalogue import hub_cache

    for name, folder in (("data folder", places_for(run).data), ("model folder", hub_cache())):
        free = shutil.disk_usage(_existing(folder)).free
        yield Finding(f"disk of {name}", f"{size(free)} free ({folder})")


def _model(run: Run) -> Iterator[Finding]:
    from edgemem.catalogue import resolve

    settings, where = run.settings, places_for(run)
    name = f"{settings.model} ({settings.sources['model']})"
    if settings.model.startswith("scripted:"):
        yield Finding("model", f"{name}: answers from a file, for tests", "note")
        return
    try:
        with run.output.progress("bytes") as report:
            found = resolve(settings.model, cache=where.cache, config=where.config, persist=False, progress=report)
    except EdgememError as error:
        hint = f"edgemem model pull {settings.model}" if isinstance(error, ModelMissing) else error.hint
        yield Finding("model", f"{name}: {error.message}", "problem", hint)
        yield Finding("network", _network(settings.offline, needed=True), "note")
        return
    checked = "sha256 as promised" if found.verified else "sha256 known to nobody"
    yield Finding("model", f"{name}: {size(found.path.stat().st_size)}, {checked}")
    yield Finding("model file", str(found.path))
    needed, free = (found.card.ram_bytes if found.card else 0), machine.memory_bytes()[1]
    if needed > free:
        text = f"the model needs about {size(needed)}, {size(free)} are free"
        yield Finding("RAM for it", text, "note", "close programs, or choose a smaller one: edgemem model list")
    yield Finding("network", _network(settings.offline, needed=False))


def _tuning(run: Run) -> Iterator[Finding]:
    """What the self-test chose for the model of the settings."""
    from edgemem.catalogue import resolve
    from edgemem.engines import known_tuning
    from edgemem.opening import tunings_folder

    settings, where = run.settings, places_for(run)
    if settings.model.startswith("scripted:"):
        return
    if not settings.tune:
        yield Finding("self-test", f"skipped ({settings.sources['tune']})")
        return
    try:
        found = resolve(settings.model, cache=where.cache, config=where.config, persist=False)
        known = known_tuning(
            found.path,
            found.digest,
            tunings_folder(where),
            device=settings.device,
            gpu_layers=settings.gpu_layers,
            threads=settings.threads,
        )
    except (ImportError, OSError, RuntimeError, EdgememError):
        return  # said above, at the model or at llama-cpp-python
    if known is None:
        yield Finding("self-test", "not run yet: the first chat with this model tests what is fastest here")
        return
    attention = "flash attention" if known.flash_attention else "plain attention"
    yield Finding(
        "self-test",
        f"{known.threads} threads, {attention}, KV {known.kv_type}, batches of {known.batch_tokens} (of "
        f"{len(known.measured)} ways, in {known.seconds:.0f} s)",
    )
    for way, (prefill, decode) in known.measured.items():
        yield Finding("  tried", f"{way}: reads {prefill:.0f}, writes {decode:.1f} tokens/s")


def _network(offline: bool, *, needed: bool) -> str:
    if needed:
        return "needed once, to fetch the model" + (" (but offline is set)" if offline else "")
    return "not needed" + (" (and switched off)" if offline else "")


def _folders(run: Run) -> Iterator[Finding]:
    from edgemem.store import open_store
    from edgemem.store.sealing import read_vault

    where, settings = places_for(run), run.settings
    for name, folder in (("data", where.data), ("settings", where.config), ("cache", where.cache)):
        yield _folder(name, folder)
    try:
        if read_vault(where.data / "users" / settings.user):
            yield Finding("memory", f"{settings.user}: encrypted (edgemem memory encrypt --off turns it off)")
            return
        with open_store(where.data, settings.user, read_only=True) as store:
            lines, pending = len(store.read().lines), sum(map(len, store.pending()))
    except EdgememError as error:
        yield Finding("memory", error.message, "problem", error.hint)
        return
    yield Finding("memory", f"{settings.user}: {lines} lines" + (f", {pending} turns to be learned" if pending else ""))


def _folder(name: str, folder: Path) -> Finding:
    there = _existing(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        hint = "make it writable for you, or choose another with --data-dir"
        return Finding(name, f"{folder}: {there} is not writable", "problem", hint)
    if there != folder:
        return Finding(name, f"{folder} (made when first needed)")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name == "posix" and mode & 0o077 and name == "data":
        return Finding(name, f"{folder} (mode {mode:04o})", "note", f"others may look into it: chmod 700 {folder}")
    return Finding(name, f"{folder} (mode {mode:04o})")


def _settings(run: Run) -> Iterator[Finding]:
    from edgemem.catalogue import hub_cache

    file = run.settings.user_file
    yield Finding("your settings", f"{file}" + ("" if file.exists() else " (not there; defaults hold)"))
    yield Finding("model cache", f"{hub_cache()} (shared with other Hugging Face tools)")
    for name, like in unknown_variables(os.environ).items():
        yield Finding(
            "environment", f"{name} means nothing to edgemem", "note", f"did you mean {like}?" if like else ""
        )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
