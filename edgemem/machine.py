"""What this machine has: cores that may be used, CPU features, memory. Home of psutil; knows no model."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "fma",
    "f16c",
    "asimddp",
    "i8mm",
    "sve",
)
_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def physical_cores() -> int:
    """Physical cores, at least 1 (logical ones where the system does not tell)."""
    import psutil

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def allowed_cpus() -> int:
    """Logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_cpus() -> float | None:
    """CPUs a container's quota grants, None without one."""
    try:
        quota, period = _CGROUP_V2.read_text("ascii").split()[:2]
    except (OSError, ValueError):
        try:
            quota, period = (path.read_text("ascii").strip() for path in _CGROUP_V1)
        except OSError:
            return None
    if quota in ("max", "-1") or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def usable_threads() -> int:
    """Threads to compute with: physical cores, but no more than affinity and quota allow, at least 1.

    llama-cpp-python's own default is half the logical CPUs: one thread on a 2-core machine, half its speed.
    """
    limits = [physical_cores(), allowed_cpus()]
    quota = cgroup_cpus()
    if quota is not None:
        limits.append(int(quota))
    return max(1, min(limits))


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    for key in ("model name", "Model", "Hardware"):
        if value := _cpuinfo().get(key):
            return value
    return platform.processor() or platform.machine()


def cpu_features() -> tuple[str, ...]:
    """Instruction sets of this CPU that matter for speed (Linux; empty elsewhere)."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for name in FEATURES if name in flags)


def memory_bytes() -> tuple[int, int]:
    """(total, available) bytes of RAM."""
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def peak_memory_bytes() -> int:
    """The most RAM this process has held at once."""
    try:
        # Linux: getrusage would count what the parent held when it forked.
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
