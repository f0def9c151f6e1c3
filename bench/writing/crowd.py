"""The set `crowd`: 200 chats of one user, in which a few facts are asked for again and again. Pure.

The first half are real chats. In the second half every asked fact comes up `times` times, in a chat of one plain
question that says nothing new, among the other real chats. The order comes from digests, so it is the same everywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from .matcher import COMMON_WEIGHT, STEM_CHARS, Words, plain
from .values import Asked, Gold, WriteCase

ASKED, TIMES = 18, 3
START, APART = datetime(2026, 1, 5, 18, tzinfo=UTC), timedelta(days=2)
NOT_ASKED = ("Plans", "About")
"""Plans leave the memory once their day has passed, and names and homes are replaced by those of the next chat: the
chats come from many persons. Neither tells about room in the memory."""
TOPIC_WORDS = 4

_WORD = re.compile(r"[^\W_]+")
_IN_BRACKETS = re.compile(r"\(.*?\)")
_YEAR = re.compile(r"\b20\d\d\b")
_NO_TOPIC = frozenset(
    ["called", "name", "named", "heisst", "llama", "appelle", "changed", "become", "noch", "quiere", "quand"]
)
_AND = {"en": "and", "de": "und", "es": "y", "fr": "et"}
_QUESTIONS = {
    "en": (
        "What did I tell you about {}?",
        "Do you still know what I said about {}?",
        "Remind me please, what did I say about {}?",
    ),
    "de": (
        "Was habe ich dir über {} erzählt?",
        "Weißt du noch, was ich über {} gesagt habe?",
        "Erinnere mich bitte, was habe ich zu {} gesagt?",
    ),
    "es": (
        "¿Qué te conté sobre {}?",
        "¿Te acuerdas de lo que dije sobre {}?",
        "Recuérdame, por favor, ¿qué dije de {}?",
    ),
    "fr": (
        "Qu'est-ce que je t'ai dit au sujet de {} ?",
        "Tu te souviens de ce que j'ai dit sur {} ?",
        "Tu peux me rappeler ce que j'ai dit de {} ?",
    ),
}
_REPLIES = {
    "en": "Let me see what I know about that.",
    "de": "Ich sehe nach, was ich darüber weiß.",
    "es": "Voy a ver qué sé de eso.",
    "fr": "Je regarde ce que j'en sais.",
}


@dataclass(frozen=True)
class _Fact:
    """A fact of the first half; `number` is the place of its chat."""

    number: int
    index: int
    gold: Gold
    chat: WriteCase

    @property
    def id(self) -> str:
        return f"{_named(self.number, self.chat.id)}.{self.index}"


def crowd(chats: Sequence[WriteCase], asked: int = ASKED, times: int = TIMES) -> list[WriteCase]:
    """The chats in a drawn order, with `times` questions for each of `asked` facts in the second half; one chain.

    Names of cases begin with their number, so that rows can be put in order. What stood in the memory before a chat
    and what it was to replace is left out: the memory is that of the chats before.
    """
    half = (len(chats) + asked * times) // 2
    mixed = sorted(chats, key=lambda chat: _chance(chat.id))
    facts = [
        _Fact(number, index, gold, chat)
        for number, chat in enumerate(mixed[:half], 1)
        for index, gold in enumerate(chat.gold)
        if _lasting(gold)
    ]
    chosen = _chosen(facts, asked)
    questions = _questions(chosen, _never_asked(facts, chosen), times)
    return _chained([*mixed[:half], *_spread(questions, mixed[half:])])


def _chance(text: str) -> bytes:
    """An order that looks like chance and is the same everywhere."""
    return hashlib.sha256(f"crowd {text}".encode()).digest()


def _named(number: int, name: str) -> str:
    return f"c{number:03}-{name}"


def _lasting(gold: Gold) -> bool:
    return gold.kind == "explicit" and gold.section not in NOT_ASKED and not _YEAR.search(gold.fact)


def _chosen(facts: Sequence[_Fact], count: int) -> list[_Fact]:
    """At most one fact of a chat, and none that another's question speaks of; each language has its share."""
    chosen: list[_Fact] = []
    for fact in _by_share(facts):
        if len(chosen) == count:
            break
        taken = any(fact.chat is other.chat or _speaks_of(other, fact) or _speaks_of(fact, other) for other in chosen)
        if not taken and topic(fact.gold.fact, fact.chat.language):
            chosen.append(fact)
    return chosen


def _by_share(facts: Sequence[_Fact]) -> list[_Fact]:
    places: list[tuple[float, _Fact]] = []
    for language in _QUESTIONS:
        told = sorted((fact for fact in facts if fact.chat.language == language), key=lambda fact: _chance(fact.id))
        places += [((at + 0.5) / len(told), fact) for at, fact in enumerate(told)]
    return [fact for _, fact in sorted(places, key=lambda place: place[0])]


def _speaks_of(asked: _Fact, other: _Fact) -> bool:
    return Words.of(other.gold.fact).shared(topic(asked.gold.fact, asked.chat.language)) > 0


def _never_asked(facts: Sequence[_Fact], chosen: Sequence[_Fact]) -> dict[str, list[str]]:
    """For comparison: the facts that no question speaks of, each beside the asked fact that is nearest to it in age."""
    beside: dict[str, list[str]] = {fact.id: [] for fact in chosen}
    for fact in facts:
        if chosen and fact not in chosen and not any(_speaks_of(other, fact) for other in chosen):
            nearest = min(chosen, key=lambda other: (abs(other.number - fact.number), other.number))
            beside[nearest.id].append(fact.id)
    return beside


def _questions(chosen: Sequence[_Fact], others: Mapping[str, Sequence[str]], times: int) -> list[WriteCase]:
    """All facts once, then all again in another order, and so on."""
    return [
        _question(fact, tuple(others[fact.id]) if turn == 0 else (), turn)
        for turn in range(times)
        for fact in sorted(chosen, key=lambda fact: _chance(f"{turn} {fact.id}"))
    ]


def _question(fact: _Fact, others: tuple[str, ...], turn: int) -> WriteCase:
    language = fact.chat.language
    questions = _QUESTIONS[language]
    asked = questions[turn % len(questions)].format(topic(fact.gold.fact, language))
    return replace(
        fact.chat,
        id=f"asks-{fact.chat.id}",
        style="asks",
        turns=(("user", asked), ("assistant", _REPLIES[language])),
        gold=(),
        third_party=(),
        traps=(),
        asks=Asked(fact.id, others),
    )


def topic(fact: str, language: str) -> str:
    """The first words of meaning of a fact, as one would ask for it: `violins, bows and glue`."""
    weights = Words.of(fact).weights
    words = [
        word.lower() if at == 0 and language != "de" else word
        for at, word in enumerate(_WORD.findall(_IN_BRACKETS.sub("", fact)))
        if weights.get(plain(word)[:STEM_CHARS], 0) > COMMON_WEIGHT and plain(word) not in _NO_TOPIC
    ]
    words = list(dict.fromkeys(words))[:TOPIC_WORDS]
    return f" {_AND[language]} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _spread(questions: Sequence[WriteCase], chats: Sequence[WriteCase]) -> list[WriteCase]:
    """Both in their order, the questions evenly among the chats."""
    places = [((at + 0.5) / len(questions), case) for at, case in enumerate(questions)]
    places += [((at + 0.5) / len(chats), case) for at, case in enumerate(chats)]
    return [case for _, case in sorted(places, key=lambda place: place[0])]


def _chained(chats: Sequence[WriteCase]) -> list[WriteCase]:
    cases: list[WriteCase] = []
    for number, chat in enumerate(chats, 1):
        cases.append(
            replace(
                chat,
                id=_named(number, chat.id),
                set="crowd",
                split="frozen",
                user="crowd",
                time=START + (number - 1) * APART,
                memory_before=(),
                stale=(),
                replaced=(),
                hidden=False,
                chains_on=cases[-1].id if cases else None,
            )
        )
    return cases
