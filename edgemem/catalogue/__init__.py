"""Which models there are, where their files come from, and whether a file may be loaded.

Callers use the names below; none of them imports the hub's library before it is needed.
"""

from edgemem.catalogue.cards import Card, CardFile, WheelMirror, cards, find_card
from edgemem.catalogue.digests import Digests, Progress
from edgemem.catalogue.gguf import GGUFHeader, check_gguf
from edgemem.catalogue.installed import InstalledModel, installed, installed_card, partial_bytes, remove
from edgemem.catalogue.resolve import ModelFile, pull, resolve
from edgemem.catalogue.storage import hub_cache

__all__ = [
    "Card",
    "CardFile",
    "Digests",
    "GGUFHeader",
    "InstalledModel",
    "ModelFile",
    "Progress",
    "WheelMirror",
    "cards",
    "check_gguf",
    "find_card",
    "hub_cache",
    "installed",
    "installed_card",
    "partial_bytes",
    "pull",
    "remove",
    "resolve",
]
