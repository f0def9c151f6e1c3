"""Encrypted bytes: AES-256-GCM over whole files and single rows, and the key file that a passphrase opens.

The only home of `cryptography`, which is imported when a user's files are encrypted and not before. The data key is
random and never on disk in clear: `vault.json` holds it wrapped with a key that scrypt derives from the passphrase. So
another passphrase wraps 32 bytes anew and touches no other file. Does not know what is in the files.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from edgemem.errors import InvalidInput, MemoryLocked
from edgemem.store.files import replace_whole, translated

MAGIC = b"EMSEAL01"
NONCE_BYTES, KEY_BYTES = 12, 32
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1
"""128 MiB and about 0.4 s for each guess (OWASP's first choice of parameters for scrypt)."""
SCRYPT_MOST_N = 1 << 20  # what a damaged or hostile key file may ask for: 1 GiB
PASSPHRASE_LEAST = 8
VAULT = "vault.json"

Direction = Literal["", "sealing", "opening"]
INSTALL = 'pip install "edgemem-runtime[encryption]"'


class Seal:
    """Seals and opens bytes with one key; `Seal()` has none, and leaves bytes as they are.

    `role` says what the bytes are (`memory.md`, ...), so that one sealed file cannot stand in for another. `strict`:
    plain bytes are refused as well, so that nobody without the key can put a file in an encrypted one's place.
    """

    def __init__(self, key: bytes = b"", *, strict: bool = False) -> None:
        self.key = key
        self.strict = strict

    @property
    def on(self) -> bool:
        return bool(self.key)

    def seal(self, data: bytes, role: str) -> bytes:
        """`data`, encrypted where there is a key."""
        if not self.on:
            return data
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed: bytes = _aead(self.key).encrypt(nonce, data, role.encode())
        return MAGIC + nonce + sealed

    def open(self, data: bytes, role: str) -> bytes:
        """What was sealed; bytes that were not are given back. Raises MemoryLocked: no key, another key, damaged, or
        plain though strict."""
        if not data.startswith(MAGIC):
            if self.strict:
                raise not_encrypted(role)
            return data
        if not self.on:
            hint = f"restore {VAULT}, which holds its key, beside it from a backup"
            raise MemoryLocked(f"{role} is encrypted and there is no key for it", hint)
        nonce = data[len(MAGIC) : len(MAGIC) + NONCE_BYTES]
        try:
            opened: bytes = _aead(self.key).decrypt(nonce, data[len(MAGIC) + NONCE_BYTES :], role.encode())
        except (_invalid_tag(), ValueError) as error:
            hint = "restore it from a backup, together with vault.json"
            raise MemoryLocked(f"{role} is damaged, or was encrypted with another key", hint) from error
        return opened

    def row(self, text: str, role: str) -> str:
        """One line of a file, sealed by itself (base64), or as it is."""
        return base64.b64encode(self.seal(text.encode(), role)).decode() if self.on else text

    def row_text(self, row: str, role: str) -> str:
        """What `row` sealed. Raises MemoryLocked."""
        try:
            data = base64.b64decode(row, validate=True)
        except ValueError:
            data = b""
        if not data.startswith(MAGIC) and not self.strict:
            return row
        return self.open(data, role).decode("utf-8", "replace")


def not_encrypted(role: str) -> MemoryLocked:
    """The error for plain bytes where only encrypted ones are believed."""
    hint = "somebody wrote it: look at it, move it away, and take in what is right with edgemem memory import"
    return MemoryLocked(f"{role} is in plain text, though this memory is encrypted", hint)


PLAIN = Seal()


@dataclass(frozen=True)
class Vault:
    """The key file of one user. `direction`: files are being encrypted, or decrypted, and not all of them are yet."""

    path: Path
    salt: bytes
    wrapped: bytes
    n: int
    direction: Direction = ""
    in_keyring: bool = False

    def unlock(self, passphrase: str) -> Seal:
        """Raises MemoryLocked for a wrong passphrase."""
        try:
            key = Seal(_derived(passphrase, self.salt, self.n), strict=True).open(self.wrapped, VAULT)
            return Seal(key, strict=not self.direction)
        except MemoryLocked as error:
            raise MemoryLocked("this is not the passphrase", "try again; nothing was changed") from error

    def write(self) -> None:
        """Put it on disk, whole. Raises StoreWriteFailed."""
        values = {"edgemem": 1, **self.values(), "direction": self.direction, "in_keyring": self.in_keyring}
        replace_whole(self.path, (json.dumps(values, indent=1) + "\n").encode())

    def values(self) -> dict[str, object]:
        """What is needed, with the passphrase, to have the key."""
        salt, key = (base64.b64encode(one).decode() for one in (self.salt, self.wrapped))
        return {"kdf": "scrypt", "n": self.n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": salt, "key": key}

    def directed(self, direction: Direction) -> Vault:
        return replace(self, direction=direction)

    def remove(self) -> None:
        with translated(self.path):
            self.path.unlink(missing_ok=True)


Passphrase = Callable[[Vault], str]
"""How to get the passphrase when it is needed."""


def new_vault(
    folder: Path, passphrase: str, seal: Seal | None = None, *, in_keyring: bool = False
) -> tuple[Vault, Seal]:
    """A vault (not written yet) around a new key, or around that of `seal`. `in_keyring`: the passphrase is kept by the
    operating system. Raises InvalidInput: too short."""
    if len(passphrase) < PASSPHRASE_LEAST:
        raise InvalidInput(f"a passphrase has at least {PASSPHRASE_LEAST} characters", "take some words")
    seal = seal or Seal(secrets.token_bytes(KEY_BYTES))
    salt = secrets.token_bytes(16)
    wrapped = Seal(_derived(passphrase, salt, SCRYPT_N)).seal(seal.key, VAULT)
    return Vault(folder / VAULT, salt, wrapped, SCRYPT_N, "", in_keyring), seal


def read_vault(folder: Path) -> Vault | None:
    """The vault of a user's folder, None where nothing is encrypted. Raises MemoryLocked for a damaged one."""
    path = folder / VAULT
    try:
        values: Any = json.loads(path.read_bytes())
        vault = vault_of(path, values)
        if values["direction"] not in get_args(Direction):
            raise ValueError("unknown direction")
        return replace(vault, direction=values["direction"], in_keyring=values["in_keyring"] is True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "restore it from a backup: without it nobody can read the rest"
        raise MemoryLocked(f"{path} is damaged: {error}", hint) from error


def vault_of(path: Path, values: Mapping[str, Any]) -> Vault:
    """The vault of `Vault.values`, which `path` holds. Raises KeyError, TypeError, ValueError where they are none."""
    n = int(values["n"])
    if (values["kdf"], values["r"], values["p"]) != ("scrypt", SCRYPT_R, SCRYPT_P) or not 2 <= n <= SCRYPT_MOST_N:
        raise ValueError("unknown form")
    salt, wrapped = (base64.b64decode(values[name], validate=True) for name in ("salt", "key"))
    return Vault(path, salt, wrapped, n)


def _derived(passphrase: str, salt: bytes, n: int) -> bytes:
    try:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError as error:
        raise MemoryLocked("the library for encryption is not installed", INSTALL) from error
    kdf = Scrypt(salt=salt, length=KEY_BYTES, n=n, r=SCRYPT_R, p=SCRYPT_P)
    derived: bytes = kdf.derive(passphrase.encode("utf-8", "surrogatepass"))
    return derived


def _aead(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
