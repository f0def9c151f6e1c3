"""Which user names can be folders on every platform. Pure; does not look at the disk."""

from __future__ import annotations

import unicodedata

from edgemem.errors import InvalidInput

NAME_MAX_CHARACTERS = 64
NAME_MAX_BYTES = 255  # of one path component, on the file systems we know
_MARKS = "-_.@+ "
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def check_user_name(name: str) -> str:
    """`name` in its composed form (NFC), so that one name is one folder. Raises InvalidInput."""
    name = unicodedata.normalize("NFC", name)
    problem = _problem(name)
    if problem:
        shown = ascii(name if len(name) <= NAME_MAX_CHARACTERS else name[:NAME_MAX_CHARACTERS] + "...")
        raise InvalidInput(
            f"the user name {shown} cannot be used: {problem}",
            f"use letters, digits, spaces and - _ . @ + only, at most {NAME_MAX_CHARACTERS} characters",
        )
    return name


def _problem(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > NAME_MAX_CHARACTERS or len(name.encode("utf-8", "surrogatepass")) > NAME_MAX_BYTES:
        return "it is too long"
    for character in name:
        if character not in _MARKS and unicodedata.category(character)[0] not in "LMN":
            return f"it contains {character!a}"
    if name[0] in ". -" or unicodedata.category(name[0])[0] == "M":
        return f"it starts with {name[0]!a}"
    if name[-1] in ". ":
        return f"it ends with {name[-1]!a}"
    if name.partition(".")[0].casefold() in _DEVICES:
        return "Windows keeps it for a device"
    return ""
