"""Processes of peers: the environment they are given, and how they end."""

from __future__ import annotations

import os
import subprocess

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH")
SILENT = {
    "MEM0_TELEMETRY": "False",
    "POSTHOG_DISABLED": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "*",
    "PYTHONUNBUFFERED": "1",
}
"""Telemetry off, no downloads, no proxy. Keys and addresses of services are not passed on at all."""


def environment(**more: str) -> dict[str, str]:
    """The variables of a peer's process."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | SILENT | more


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process that stops when its stdin closes; kill it where it does not."""
    if process.stdin:
        try:
            process.stdin.close()
        except OSError:
            pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
