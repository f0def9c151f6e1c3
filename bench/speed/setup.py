"""What the rows are measured with: the engine, and for some the model's file and a folder for tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput

from ..writing.run import Setup


@dataclass(frozen=True)
class SpeedSetup(Setup):
    """`opening` is how the engine was asked for (device, gpu_layers, threads), so that another one is of the same kind;
    `tools` is where llama-bench is built, `tunings` where self-tests are kept (None: not used), `say` tells people
    about work that takes minutes."""

    model_path: Path | None = None
    opening: Mapping[str, Any] = field(default_factory=dict)
    tools: Path | None = None
    tunings: Path | None = None
    say: Callable[[str], None] = lambda text: None

    @property
    def gguf(self) -> Path:
        """The model's file. Raises InvalidInput where it is none that llama.cpp reads."""
        if self.model_path is None or self.model_path.suffix != ".gguf":
            raise InvalidInput("this row needs a GGUF model", "choose one with --model: edgemem model list")
        return self.model_path


def real(setup: Setup) -> SpeedSetup:
    """The setup of a row that needs a real model. Raises InvalidInput."""
    if not isinstance(setup, SpeedSetup) or setup.model_path is None:
        raise InvalidInput("this row needs a GGUF model", "choose one with --model: edgemem model list")
    return setup
