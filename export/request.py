"""What was asked of an export, kept in its work folder, so that `check` and `pack` know it later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgemem.errors import InvalidInput
from edgemem.store.files import translated

from .apart import Progress
from .preflight import Plan, preflight
from .run import Export, export_gguf, export_onnx
from .steps import WORK, write_text
from .verify.kept import How

FILE = "request.json"


@dataclass(frozen=True)
class Request:
    """The arguments of `export gguf`; paths are absolute. `origin` is the hub's `org/repo@commit`, '' for a folder;
    `optimum` is the Python of optimum's environment where that is the exporter."""

    source: str
    name: str
    quantizations: tuple[str, ...]
    imatrix: str = ""
    prompts: str = ""
    policy: str = "edits"
    format: str = "gguf"
    lora: str = ""
    keep_adapter: bool = False
    origin: str = ""
    exporter: str = "genai"
    optimum: str = ""

    @property
    def how(self) -> How:
        return How(self.prompts, self.policy)

    def plan(self, folder: Path) -> Plan:
        """Raises as `preflight`."""
        onnx, imatrix = self.format == "onnx", bool(self.imatrix)
        return preflight(
            Path(self.source),
            folder,
            self.quantizations,
            name=self.name,
            imatrix=imatrix,
            onnx=onnx,
            lora=self.lora,
            keep_adapter=self.keep_adapter,
            origin=self.origin,
            exporter=self.exporter,
        )

    def make(self, plan: Plan, progress: Progress | None = None) -> Export:
        """Raises as `export_gguf`."""
        if self.format == "onnx":
            return export_onnx(plan, progress, Path(self.optimum) if self.optimum else None)
        return export_gguf(plan, self.imatrix, progress, self.prompts)


def keep(request: Request, folder: Path) -> None:
    """Note the request in `folder`. Raises StoreWriteFailed."""
    path = folder / WORK / FILE
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(request), indent=1))


def kept(folder: Path, source: Path | None = None) -> Request:
    """The request that made `folder`, with another place of the checkpoint where it has moved. Raises InvalidInput."""
    try:
        found = json.loads((folder / WORK / FILE).read_bytes())
        found["quantizations"] = tuple(found["quantizations"])
        request = Request(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{folder} was not made here by an export: {error}", "run: edgemem export gguf SRC"
        ) from error
    return request if source is None else Request(**{**asdict(request), "source": str(source.absolute())})
