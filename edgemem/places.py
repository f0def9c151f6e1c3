"""Where things live on this machine. Computes paths and creates nothing; does not know what is in the folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "EDGEMEM_HOME"


@dataclass(frozen=True)
class Places:
    """Folders of one installation: `data` (users), `cache` (safe to delete), `config` (settings, own cards)."""

    data: Path
    cache: Path
    config: Path


def places(data_dir: Path | None = None) -> Places:
    """The folders to use: `data_dir`, else the variable EDGEMEM_HOME, else what the platform provides.

    With one of the first two everything moves there, the cache into its subfolder `cache`.
    """
    chosen = data_dir or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else None)
    if chosen is not None:
        root = chosen.expanduser().absolute()
        return Places(data=root, cache=root / "cache", config=root)
    from platformdirs import PlatformDirs  # here, because most runs of the tests and the demo never need it

    folders = PlatformDirs("edgemem", appauthor=False)
    return Places(folders.user_data_path, folders.user_cache_path, folders.user_config_path)
