"""Which special category of personal data a line speaks of: health, religion, politics ... Pure; words, no model.

The words are data (`sensitive.toml`). A word decides alone, so "a church built in 1200" counts as religion: a line too
many waits for consent, which costs one keystroke. What no word tells ("Fridays at the Ibn Rushd centre") is missed.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib import resources

HEALTH_SECTION = "Health"


@lru_cache(maxsize=2048)  # each reading of the memory asks about each line
def sensitivity_of(text: str, section: str = "") -> str:
    """`health`, `religion`, `politics`, `sexuality`, `ethnicity`, `biometrics`; '' for an ordinary line."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(c))
    found = next((name for name, pattern in _patterns().items() if pattern.search(plain)), "")
    return found or ("health" if section == HEALTH_SECTION else "")


def sensitive_classes() -> tuple[str, ...]:
    """The names of the classes."""
    return tuple(_patterns())


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    text = resources.files("edgemem.memory").joinpath("sensitive.toml").read_text("utf-8")
    return {name: re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)") for name, words in tomllib.loads(text).items()}
