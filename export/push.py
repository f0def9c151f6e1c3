"""A packed model folder sent to the hub, on request only: what is sent, where to, and who will see it.

The token comes from the environment and from nowhere else; it is neither stored nor shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from edgemem.catalogue import hub
from edgemem.catalogue.cards import REPO
from edgemem.errors import DownloadFailed, InvalidInput, UploadFailed

from .pack import LICENCES, Packed

TOKEN = "HF_TOKEN"
TEXTS = ("README.md", "manifest.json", "card.toml", *LICENCES)


@dataclass(frozen=True, slots=True)
class Sending:
    """Where to, and whether that repository is private already (None: there is none yet)."""

    repo: str
    token: str = field(repr=False)
    private: bool | None = None

    @property
    def seen_by(self) -> str:
        if self.private is None:
            return "a new private repository"
        return "a private repository" if self.private else "a PUBLIC repository: everybody will see them"


def sending(repo: str, *, offline: bool = False) -> Sending:
    """Look at `repo`. Raises InvalidInput (no name, no token, no network wanted), UploadFailed (the hub says no)."""
    if not REPO.fullmatch(repo):
        raise InvalidInput(f"{repo[:80]!r} is no repository", "write it as org/name: --push org/name")
    if why := hub.no_network(offline=offline):
        raise InvalidInput(f"nothing is sent: {why}", "unset it")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise InvalidInput(f"there is no token to send with: {TOKEN} is not set", f"{TOKEN}=... edgemem export ...")
    try:
        return Sending(repo, token, hub.is_private(repo, token))
    except DownloadFailed as failure:
        raise UploadFailed(f"{repo} cannot be looked at: {failure.message}", failure.hint or hub.PUSH_HINT) from failure


def files_to_send(packed: Packed) -> dict[str, Path]:
    """Name in the repository and file here: what the manifest names, and the texts beside it. Nothing else."""
    manifest = packed.manifest
    names = [name for name in TEXTS if (packed.folder / name).is_file()]
    names += [file["file"] for one in manifest["variants"] for file in one["files"]]
    if manifest["prompts"]:
        names += [f"prompts/{path.name}" for path in sorted((packed.folder / "prompts").glob("*.txt"))]
    imatrix = (manifest["imatrix"] or {}).get("file", "")
    names += [imatrix] if imatrix and (packed.folder / imatrix).is_file() else []
    return {name: packed.folder / name for name in dict.fromkeys(names)}


def send(packed: Packed, files: dict[str, Path], sending: Sending) -> str:
    """One commit with all files; returns its address. Raises UploadFailed."""
    manifest = packed.manifest
    names = ", ".join(one["quantization"] for one in manifest["variants"])
    return hub.push(sending.repo, files, sending.token, f"{manifest['name']}: {names}")
