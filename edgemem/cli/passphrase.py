"""Where the passphrase of an encrypted memory comes from: a variable, the operating system's keyring, or a person."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgemem.errors import InvalidInput, MemoryLocked

if TYPE_CHECKING:
    from edgemem.store.sealing import Passphrase, Vault

VARIABLE = "EDGEMEM_PASSPHRASE"
EXPORT_VARIABLE = "EDGEMEM_EXPORT_PASSPHRASE"
SERVICE = "edgemem"


def passphrase_of(user: str) -> Passphrase:
    """How to get the passphrase of a user's memory, once it is needed."""

    def get(vault: Vault) -> str:
        if given := os.environ.get(VARIABLE):
            return given
        return from_keyring(user) if vault.in_keyring else _typed(f"passphrase of {user}: ")

    return get


def new_passphrase(user: str) -> str:
    """A passphrase chosen now, typed twice. Raises InvalidInput when both differ or nobody can be asked."""
    return os.environ.get(VARIABLE + "_NEW") or os.environ.get(VARIABLE) or _typed_twice(user)


def new_export_passphrase(file: str) -> str:
    """A passphrase for an encrypted export, as `new_passphrase`."""
    return os.environ.get(EXPORT_VARIABLE) or _typed_twice(file, EXPORT_VARIABLE)


def export_passphrase(file: str) -> str:
    """The passphrase of an encrypted export that is to be read. Raises MemoryLocked when nobody can be asked."""
    return os.environ.get(EXPORT_VARIABLE) or _typed(f"passphrase of {file}: ", EXPORT_VARIABLE)


def _typed_twice(of: str, variable: str = VARIABLE) -> str:
    first = _typed(f"new passphrase for {of}: ", variable)
    if _typed("once more: ", variable) != first:
        raise InvalidInput("the two are not the same", "try again; nothing was changed")
    return first


def from_keyring(user: str) -> str:
    """Raises MemoryLocked where the keyring has none, or is not there."""
    keyring = _keyring()
    try:
        found = keyring.get_password(SERVICE, user)
    except keyring.errors.KeyringError as error:
        raise MemoryLocked(f"the keyring cannot be read: {error}", f"unlock it, or set {VARIABLE}") from error
    if not found:
        hint = f"restore the keyring's entry `{SERVICE}`, or set {VARIABLE} if you have the passphrase elsewhere"
        raise MemoryLocked(f"the keyring has no passphrase for {user} any more", hint)
    return str(found)


def into_keyring(user: str, passphrase: str) -> None:
    """Keep it there, and read it back. Raises InvalidInput where that does not work."""
    keyring = _keyring()
    try:
        keyring.set_password(SERVICE, user, passphrase)
        kept = keyring.get_password(SERVICE, user)
    except keyring.errors.KeyringError as error:
        raise InvalidInput(f"the keyring refuses: {error}", "encrypt with a passphrase instead") from error
    if kept != passphrase:
        raise InvalidInput("the keyring does not give back what it was given", "encrypt with a passphrase instead")


def _keyring() -> Any:
    try:
        import_module("keyring.errors")
        return import_module("keyring")
    except ImportError as error:
        raise MemoryLocked("the library `keyring` is not installed", "pip install keyring") from error


def _typed(label: str, variable: str = VARIABLE) -> str:
    if not sys.stdin.isatty():
        hint = f"run it in a terminal, or set the variable {variable}"
        raise MemoryLocked("a passphrase is needed, and nobody can be asked for it here", hint)
    return getpass(label, sys.stderr)
