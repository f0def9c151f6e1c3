"""The error tree. Every error a user can meet has a code, an exit code and, where there is one, the next step.

    EdgememError                     1
    ├── InvalidInput                 2   a name, option or argument that cannot be used
    ├── ModelMissing                 3   not on this machine (and perhaps not to be had: offline)
    ├── ModelDamaged                 4   truncated, wrong digest, not a GGUF
    ├── ModelUnsupported             5   sound, but this build cannot run it
    ├── DownloadFailed               6   hub and mirrors gave nothing usable
    ├── MemoryUnreadable             7   memory.md is there but cannot be used as it is
    ├── StoreBusy                    8   another process holds what is needed
    ├── StoreWriteFailed             9   disk full, read-only folder: nothing was changed
    ├── JournalUnusable             10   from a newer version, or damaged
    ├── ContextExceeded             11   the prompt does not fit the model's context
    ├── UpdateFailed                12   no usable update: memory untouched, turns still pending
    ├── EngineFailed                13   the model library refused to work
    ├── MemoryLocked                14   encrypted: no passphrase, a wrong one, or its key is lost
    ├── UploadFailed                15   the hub did not take what was to be sent
    └── Cancelled                  130   stopped on request: nothing was written

Adapters translate foreign errors into these at the border; one place (the CLI) prints them.
"""

from __future__ import annotations

from typing import ClassVar


class EdgememError(Exception):
    """Base of all errors that edgemem raises on purpose.

    `message` says what is wrong, `hint` what to do next (empty when there is nothing to do).
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(EdgememError):
    code = "invalid_input"
    exit_code = 2


class ModelMissing(EdgememError):
    code = "model_missing"
    exit_code = 3


class ModelDamaged(EdgememError):
    code = "model_damaged"
    exit_code = 4


class ModelUnsupported(EdgememError):
    code = "model_unsupported"
    exit_code = 5


class DownloadFailed(EdgememError):
    code = "download_failed"
    exit_code = 6


class MemoryUnreadable(EdgememError):
    code = "memory_unreadable"
    exit_code = 7


class StoreBusy(EdgememError):
    code = "store_busy"
    exit_code = 8


class StoreWriteFailed(EdgememError):
    code = "store_write_failed"
    exit_code = 9


class JournalUnusable(EdgememError):
    code = "journal_unusable"
    exit_code = 10


class ContextExceeded(EdgememError):
    code = "context_exceeded"
    exit_code = 11


class UpdateFailed(EdgememError):
    code = "update_failed"
    exit_code = 12


class EngineFailed(EdgememError):
    code = "engine_failed"
    exit_code = 13


class MemoryLocked(EdgememError):
    code = "memory_locked"
    exit_code = 14


class UploadFailed(EdgememError):
    code = "upload_failed"
    exit_code = 15


class Cancelled(EdgememError):
    code = "cancelled"
    exit_code = 130
