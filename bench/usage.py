"""What this process takes of the machine, as far as the system tells (else None), and what the machine is."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from edgemem.machine import cpu_features, cpu_model, memory_bytes, physical_cores

from .energy import Energy

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
SAMPLE_S = 0.05
"""How often the two kinds of resident memory are looked at; the system itself keeps only the peak of their sum."""


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """A dict that holds, after the block, its peaks of resident bytes (all, anonymous, of files) and its joules."""
    found: dict[str, Any] = {}
    energy = _energy()
    _reset_peak()
    peaks = _Peaks()
    peaks.start()
    energy.start()
    try:
        yield found
    finally:
        joules = energy.joules()
        peaks.stop()
        found |= {"rss_peak": _status().get("VmHWM"), "rss_anon_peak": peaks.anon, "rss_file_peak": peaks.file}
        found |= {"joules": joules, "energy_source": energy.source}


@cache
def _energy() -> Energy:
    return Energy()


class _Peaks(threading.Thread):
    """Looks at anonymous and file-backed resident bytes until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()
        self.anon: int | None = None
        self.file: int | None = None

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self._look()

    def start(self) -> None:
        self._look()
        super().start()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self._look()

    def _look(self) -> None:
        status = _status()
        if "RssAnon" in status:
            self.anon = max(self.anon or 0, status["RssAnon"])
            self.file = max(self.file or 0, status.get("RssFile", 0) + status.get("RssShmem", 0))


def _reset_peak() -> None:
    """Let the peak start anew, where the system can."""
    try:
        _CLEAR.write_text("5", "ascii")
    except OSError:
        pass


def peaks_of(pid: int) -> int | None:
    """Peak resident bytes of another process so far."""
    return _status(Path(f"/proc/{pid}/status")).get("VmHWM")


def _status(file: Path = _STATUS) -> dict[str, int]:
    try:
        lines = file.read_text("ascii", "replace").splitlines()
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
