"""Recognises what must not be kept: credentials, accounts, government ids; contact data unless asked for. Pure.

The rules are data (`private_kinds.toml`, which says how to write one). They look at shape and at words nearby, with
checksums where a kind has one (cards: Luhn, IBAN: ISO 7064, French NIR, Spanish DNI). What they do not know: a secret
without a shape and without a word for it ("it is sunshine"), other languages, names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from edgemem.memory import wording
from edgemem.memory.words import all_words

GAP_CHARS = 40
MIN_KNOWN_CHARS = 4  # shorter values would mask halves of ordinary words when they come again
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


@dataclass(frozen=True, slots=True)
class Private:
    """Private data in a text, from `start` to `end`. `on_request`: may be kept where the person asks for it."""

    kind: str
    start: int
    end: int
    on_request: bool


@dataclass(frozen=True)
class _Rule:
    kind: str
    on_request: bool
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool]


@lru_cache(maxsize=512)  # 0.7 ms for a line; the checker asks about a line and its message several times
def find_private(text: str) -> tuple[Private, ...]:
    """All private data in `text`, in order, without overlaps."""
    found: list[Private] = []
    taken = bytearray(len(text))
    for rule in _rules():
        for match in rule.pattern.finditer(text):
            start, end = _trimmed(text, *match.span("v" if "v" in match.groupdict() else 0))
            if not any(taken[start:end]) and rule.accepts(text[start:end]):
                found.append(Private(rule.kind, start, end, rule.on_request))
                taken[start:end] = b"\1" * (end - start)
    return tuple(sorted(found, key=lambda one: one.start))


def find_secret(text: str, *, on_request_too: bool = False) -> str:
    """Kind of the first secret in `text` (`card number`, `credential`, ...), '' when there is none.

    Contact data counts only with `on_request_too`. A masked text counts as a secret: it is no fact about anybody.
    """
    if _mask().search(text):
        return "masked secret"
    return next((one.kind for one in find_private(text) if on_request_too or not one.on_request), "")


def asks_to_keep(text: str) -> bool:
    """Whether the person asks to remember something ("remember my address: ...")."""
    return wording.KEEP.search(text) is not None


def private_values(texts: Iterable[str]) -> set[str]:
    """All private data in these texts, as written."""
    return {text[one.start : one.end] for text in texts for one in find_private(text)}


def part_of_private(note: str, said: str) -> Private | None:
    """What was told in full in `said` and of which a word stands in `note`. Contact data that the person asked to keep
    does not count. A note may be a part of a text, without the words that tell a kind."""
    words = set(map(str.casefold, all_words(note))) - wording.FUNCTION_WORDS
    for one in _to_mask(said):
        told = {word.casefold() for word in all_words(said[one.start : one.end])}
        if any(_telling(word) for word in told & words):
            return one
    return None


def _telling(word: str) -> bool:
    return (any(map(str.isdigit, word)) and len(word) > 1) or len(word) >= MIN_KNOWN_CHARS


def masked(text: str, known: Iterable[str] = ()) -> str:
    """`text` with a mark of its kind in place of each secret, and of each of `known` (secrets said before, which an
    answer repeats). Contact data stays where the text asks to remember it."""
    for one in reversed(_to_mask(text)):
        text = f"{text[: one.start]}[masked {one.kind}]{text[one.end :]}"
    for value in sorted(known, key=len, reverse=True):
        if len(value) >= MIN_KNOWN_CHARS and value in text:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "[masked secret]", text)
    return text


def _to_mask(text: str) -> list[Private]:
    keeps = asks_to_keep(text)
    return [one for one in find_private(text) if not (keeps and one.on_request)]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while end > start and text[end - 1] in " .,;:!?)-/" and not (text[end - 1] == ")" and "(" in text[start:end]):
        end -= 1
    return start, end


@cache
def _kinds() -> list[dict[str, Any]]:
    text = resources.files("edgemem.memory").joinpath("private_kinds.toml").read_text("utf-8")
    kinds: list[dict[str, Any]] = tomllib.loads(text)["kinds"]
    return kinds


@cache
def _mask() -> re.Pattern[str]:
    """What stands in a text where private data was; a model's note may leave out the brackets."""
    names = "|".join(re.escape(kind["name"]) for kind in _kinds())
    return re.compile(rf"\[masked\b|\bmasked (?:secret|{names})\b", re.IGNORECASE)


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(rule for kind in _kinds() for raw in kind["rules"] for rule in _rules_of(kind, raw))


def _rules_of(kind: dict[str, Any], raw: dict[str, Any]) -> Iterator[_Rule]:
    accepts = _acceptor(raw)

    def rule(pattern: str) -> _Rule:
        return _Rule(kind["name"], kind.get("on_request", False), re.compile(pattern), accepts)

    if "cue" not in raw:
        yield rule(raw["value"])
        return
    gap = raw.get("gap_is", rf"[^\n!?]{{0,{raw.get('gap', GAP_CHARS)}}}?")
    yield rule(rf"{raw['cue']}{gap}(?P<v>{raw['value']})")
    if raw.get("either_way"):
        yield rule(rf"(?P<v>{raw['value']}){gap}{raw['cue']}")


def _acceptor(raw: dict[str, Any]) -> Callable[[str], bool]:
    check, digits = _CHECKS.get(raw.get("check", "")), raw.get("digits", 0)

    def accepts(value: str) -> bool:
        return sum(map(str.isdigit, value)) >= digits and (check is None or check(value))

    return accepts


def _luhn(value: str) -> bool:
    digits = [int(char) for char in value if char.isdigit()]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return len(digits) >= 13 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(value: str) -> bool:
    """ISO 13616: the number that the letters stand for, country and check digits last, is 1 modulo 97."""
    plain = value.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _nir(value: str) -> bool:
    """French social security number: the last two digits are 97 less the rest modulo 97 (2A, 2B: Corsica)."""
    plain = value.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return 97 - int(plain[:-2]) % 97 == int(plain[-2:])


def _dni(value: str) -> bool:
    plain = re.sub(r"[ .-]", "", value).translate(str.maketrans("XYZ", "012", ""))
    return _DNI_LETTERS[int(plain[:8]) % 23] == value[-1]


def _plate(value: str) -> bool:
    letters, digits = sum(map(str.isalpha, value)), sum(map(str.isdigit, value))
    return 1 <= letters <= 6 and 2 <= digits <= 7 and 5 <= letters + digits <= 9


def _password(value: str) -> bool:
    """A word that is no word: with a digit or a mark inside. `is weak` tells nothing."""
    return any(char.isdigit() or not char.isalnum() for char in value.strip(".,;:!?)("))


_CHECKS: dict[str, Callable[[str], bool]] = {
    "luhn": _luhn,
    "iban": _iban,
    "nir": _nir,
    "dni": _dni,
    "plate": _plate,
    "password": _password,
}
