"""Energy that the machine counts by itself: processor packages by RAPL, NVIDIA GPUs by NVML. Home of pynvml.

RAPL counts whole packages, other programs included, and on many systems only root may read it; NVML counts whole
boards. Where neither can be read nothing is reported: an estimate would be a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


class Energy:
    """Counters as they were when this was made; `joules` says what has been used since."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = [zone for zone in _packages(powercap) if _read(zone / "energy_uj") is not None]
        self._boards = _boards()
        self.source = "+".join(name for name, found in (("rapl", self._packages), ("nvml", self._boards)) if found)
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._at_start = {zone: _read(zone / "energy_uj") for zone in self._packages}
        self._boards_at_start = [_board_joules(board) for board in self._boards]

    def joules(self) -> float | None:
        """Joules since `start` (at most one turn of a RAPL counter, about 40 minutes at 100 W); None: not counted."""
        if not self.source:
            return None
        boards = (self._boards, self._boards_at_start)
        total = sum(_board_joules(board) - before for board, before in zip(*boards, strict=True))
        for zone, before in self._at_start.items():
            now = _read(zone / "energy_uj")
            if now is None or before is None:
                return None
            turn = (_read(zone / "max_energy_range_uj") or 0) if now < before else 0
            total += (now - before + turn) / 1e6
        return round(total, 3)


def _packages(powercap: Path) -> list[Path]:
    """Whole packages (`intel-rapl:0`), not the parts of one (`intel-rapl:0:1`) nor the same ones again by MMIO."""
    return sorted(zone for zone in powercap.glob("intel-rapl:*") if zone.name.count(":") == 1)


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _boards() -> list[Any]:
    """GPUs that count their energy (Volta and later)."""
    try:
        import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        boards = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        for board in boards:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(board)
    except pynvml.NVMLError:
        return []
    return boards


def _board_joules(board: Any) -> float:
    import pynvml

    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(board)) / 1e3
