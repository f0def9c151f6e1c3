"""An export that only a passphrase opens: a JSON text that has a vault of its own, and the archive sealed with its key.

The journal notes the key as part of the export's form, so that `forget` can write the file anew without asking.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgemem.errors import InvalidInput
from edgemem.store.archive import FORM
from edgemem.store.sealing import MAGIC, Seal, Vault, new_vault, vault_of

SEALED = "sealed "
"""How such a form begins in the journal; the key follows, in base64."""
_ROLE = "export"


def seal_export(text: str, passphrase: str) -> tuple[str, str]:
    """What the file is to hold, and the form to note. Raises InvalidInput: the passphrase is too short."""
    vault, seal = new_vault(Path(), passphrase)
    return _text(vault, seal, text), SEALED + base64.b64encode(seal.key).decode()


def seal_export_again(text: str, form: str, before: bytes) -> str:
    """`text` in the place of what is in `before`, for the same passphrase. Raises InvalidInput (`before` is damaged),
    MemoryLocked (it has another key: sealed with ours under its vault, nobody could open it)."""
    text_in(form, before)
    return _text(_vault(_values(before)), _seal(form), text)


def open_export(values: Mapping[str, Any], passphrase: Callable[[], str]) -> str:
    """The text inside of a parsed sealed export. Raises InvalidInput (damaged), MemoryLocked (wrong passphrase)."""
    vault = _vault(values)
    return _opened(vault.unlock(passphrase()), values).decode("utf-8", "replace")


def text_in(form: str, data: bytes) -> bytes:
    """What the file of these bytes holds, by the key of its form. Raises InvalidInput, MemoryLocked."""
    return _opened(_seal(form), _values(data))


def _text(vault: Vault, seal: Seal, text: str) -> str:
    data = base64.b64encode(seal.seal(text.encode(), _ROLE)).decode()
    return json.dumps({"edgemem": FORM, "sealed": vault.values(), "data": data}, indent=1) + "\n"


def _seal(form: str) -> Seal:
    return Seal(base64.b64decode(form.removeprefix(SEALED)), strict=True)


def _values(data: bytes) -> Mapping[str, Any]:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(error) from error
    return values if isinstance(values, dict) else {}


def _vault(values: Mapping[str, Any]) -> Vault:
    try:
        return vault_of(Path(), values["sealed"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(error) from error


def _opened(seal: Seal, values: Mapping[str, Any]) -> bytes:
    try:
        data = base64.b64decode(values["data"], validate=True)
        if not data.startswith(MAGIC):
            raise ValueError("not sealed")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(error) from error
    return seal.open(data, _ROLE)


def _damaged(error: Exception) -> InvalidInput:
    return InvalidInput(f"this encrypted export is damaged: {error!r}", "take another copy of it")
