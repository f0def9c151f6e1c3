"""What this process takes of the machine, as far as the system tells (else None), and what the machine is."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from edgemem.machine import cpu_features, cpu_model, memory_bytes, physical_cores

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Let the peak start anew, where the system can."""
    try:
        _CLEAR.write_text("5", "ascii")
    except OSError:
        pass


def memory_use() -> dict[str, int | None]:
    """Peak resident bytes since `reset_peak`, and those resident now: anonymous ones apart from files."""
    found = _status()
    return {"rss_peak": found.get("VmHWM"), "rss_anon": found.get("RssAnon"), "rss_file": found.get("RssFile")}


def _status() -> dict[str, int]:
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key: int(value.split()[0]) * 1024 for key, _, value in pairs if value.strip().endswith("kB")}


def machine() -> dict[str, Any]:
    """The machine's card: nothing that names its owner."""
    return {
        "cpu": cpu_model(),
        "cores": physical_cores(),
        "features": list(cpu_features()),
        "memory_bytes": memory_bytes()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
