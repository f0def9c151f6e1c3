"""Names of runs in reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def run_name(run: Mapping[str, Any]) -> str:
    """A run for people: policy, steps left out, model and the code that wrote."""
    variant = f" {run['variant']}" if run["variant"] else ""
    return f"{run['policy']}{variant}, {run['model']} ({run['code_digest'][:6]})"
