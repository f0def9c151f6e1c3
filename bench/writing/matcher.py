"""The one fixed matcher: does a memory line say this fact, and of the right person? Pure, no model.

It uses nothing of edgemem's own checker, so that the ruler stays as it is while what it measures changes. How far it
can be trusted is measured on pairs labelled by hand (`matcher_pairs.jsonl`, see `validation`). Raise MATCHER_VERSION
with every change: rows carry it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .values import Gold, Stale, ThirdParty, Trap

MATCHER_VERSION = 1
LEAST_SHARE, LONG_SHARE = 0.5, 0.25  # of a fact's weighted words, found in one line: short facts, long ones
ENOUGH_WORDS = 2.5  # weighted words that are enough of a longer fact (a sentence tells more than one line keeps)
STEM_CHARS = 5  # as many first letters decide: `allergy` and `allergic` meet
NAME_WEIGHT, NUMBER_WEIGHT, COMMON_WEIGHT = 1.5, 1.5, 0.5

_WORD = re.compile(r"[^\W_]+")
_CLAUSE = re.compile(r"[,;:.()]|\b(?:but|because|aber|sondern|pero|sino|mais)\b")
_IN_ITS_PLACE = re.compile(
    r"\b(?:instead of|rather than|(?<=prefers )(.*?) over|statt|en vez de|au lieu de|plutot que)\b"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EMPTY = _words(
    # en
    "the and for with who has have had was are were his her their its your you user from that this into about she he "
    "they them him does did not but all any out own over than then when where which while will would been being "
    "very some more most also just only after before during because since "
    # de
    "der die das und mit von den dem ein eine einen einer nicht ist hat sich auf fur im in zu seit wird als auch nur "
    # es
    "el la los las una unos con por para que del sus como este esta desde "
    # fr
    "le les des une avec pour dans sur est qui que aux ses son sa du au ne pas en avant apres tout"
)
_COMMON = _words(
    "likes like loves enjoys prefers dislikes dislike wants want using use uses used new first time work works "
    "working start started starts began begin begins going goes went gets got take takes taking took make makes made "
    "decides decided plans plan feel feels felt lot day week month year home "
    "mag spielt macht hat habe gusta prefiere aime fait"
)
_NEGATION = re.compile(
    r"\b(?:ne\b.{0,30}?\b(?:pas|plus|jamais|rien|guere)|n'.{0,30}?\b(?:pas|plus|jamais|rien)"
    r"|(?:not\b|\w+n't).{0,40}?\bany ?(?:more|longer)|no longer|nicht mehr|kein\w*\b.{0,30}?\bmehr|ya no"
    r"|(?:can't|cannot|can not) stand"
    r"|used to|former(?:ly)?|ex|stop(?:ped|s)|quit|gave up|given up|healed|cancel\w*"
    r"|not|no|never|none|without|cannot|\w+n't|dont|cant|refus\w*|"
    r"dislik\w*|hat(?:es|ed|ing)|avoid\w*|averse|tired of|boring|intoleran\w*|allerg\w*|unable|off on|free of"
    r"|nicht|kein\w*|nie|ohne|fruher|ehemal\w*|meidet|hasst|unvertrag\w*|aufgehort|aufgegeben"
    r"|no|nunca|sin|antes|odia|dejo|alergi\w*|evita|tampoco"
    r"|pas|plus|jamais|sans|deteste\w*|arret\w*|ancien\w*|evite)\b"
)
_FOR_IT = re.compile(
    r"\b(?:likes?|loves?|enjoys?|prefers?|uses?|drives?|works|considering|wants?"
    r"|mag|liebt|arbeitet|trinkt|fahrt|le gusta|trabaja|conduce|fuma|usa|aime|travaille)\b"
)
_PERSONS = _words(
    "wife husband partner girlfriend boyfriend fiancee fiance friend friends mother mum mom father dad parents parent "
    "sister brother daughter son child children kids kid cousin aunt uncle niece nephew grandmother grandma "
    "grandfather grandpa neighbour neighbours neighbor neighbors colleague colleagues coworker boss landlady landlord "
    "tenant roommate flatmate family teacher mrs mr "
    "frau mann freund freundin freunde mutter vater eltern schwester bruder tochter sohn kinder cousine tante onkel "
    "oma opa grossmutter grossvater nachbar nachbarin nachbarn kollege kollegin chef chefin vermieterin mieterin herr "
    "esposa marido novia novio amigo amiga madre padre padres hermana hermano hija hijo hijos prima primo tia tio "
    "abuela abuelo vecina vecino companera companero jefa jefe "
    "femme mari compagne compagnon copine copain ami amie mere pere parents soeur frere fille fils enfants tante oncle "
    "grand-mere grand-pere voisine voisin collegue patron patronne"
)
_BEFORE_PERSON = _words(
    "the a an user users his her their my our of young old older younger best elderly "
    "der die das sein seine seiner ihr ihre ihrer mein meine el la los las su sus mi mis un una le les l un une son sa "
    "ses mon ma mes leur"
)


@dataclass(frozen=True)
class Words:
    """The words of a text that carry meaning, as stems with weights."""

    weights: dict[str, float]

    @classmethod
    def of(cls, text: str, names: Iterable[str] = ()) -> Words:
        left_out = {plain(name) for name in names}
        weights: dict[str, float] = {}
        for at, word in enumerate(_WORD.findall(text)):
            small = plain(word)
            if small in _EMPTY or small in left_out or (len(small) < 3 and not small.isdigit()):
                continue
            weights[small[:STEM_CHARS]] = _weight(word, small, at)
        return cls(weights)

    def without_numbers(self) -> Words:
        return Words({stem: weight for stem, weight in self.weights.items() if not stem.isdigit()})

    def shared(self, text: str) -> float:
        """Weighted share (0 to 1) of these words that `text` has, too."""
        there = {plain(word)[:STEM_CHARS] for word in _WORD.findall(text)}
        whole = sum(self.weights.values())
        found = sum(weight for stem, weight in self.weights.items() if any(_meet(stem, other) for other in there))
        return found / whole if whole else 0.0

    def enough_in(self, line: str) -> bool:
        """Whether the line has so many of these words that it says the fact."""
        whole = sum(self.weights.values()) or 1.0
        return self.shared(line) >= min(LEAST_SHARE, max(LONG_SHARE, ENOUGH_WORDS / whole))


def _meet(one: str, other: str) -> bool:
    """Equal, or the shorter (four letters and more: `swim`, `swimm`) begins the longer."""
    return one == other or (min(len(one), len(other)) == 4 and (one.startswith(other) or other.startswith(one)))


def _weight(word: str, small: str, at: int) -> float:
    if small.isdigit():
        return NUMBER_WEIGHT
    if small in _COMMON:
        return COMMON_WEIGHT
    return NAME_WEIGHT if at > 0 and word[0].isupper() else 1.0


def recalled(gold: Gold, lines: Iterable[str]) -> bool:
    """Whether one of the lines says the fact, of the right person."""
    return any(conveys(gold, line) for line in lines)


def conveys(gold: Gold, line: str) -> bool:
    """Whether this line says the fact: its keys or enough of its words, the same person, nothing turned around."""
    if gold.keys:
        if not has_keys(gold.keys, line):
            return False
    elif not Words.of(gold.fact, gold.names).enough_in(line):
        return False
    return _same_person(gold.fact, line) and not _turned_around(gold, line)


def is_stale(stale: Stale, lines: Iterable[str]) -> bool:
    """Whether a line still says the old fact. One that negates it does not."""
    old = Gold(stale.old, "explicit", stale.keys)
    return any(_still_says(old, line) for line in lines)


def _still_says(old: Gold, line: str) -> bool:
    if not old.keys:
        return conveys(old, line)
    return has_keys(old.keys, line) and not (_denies(line, old) and not _denies(old.fact, old))


def can_be_mistaken(fact: ThirdParty) -> bool:
    """Whether something is left of the keys without those that name the owner; else nothing can be said."""
    return bool(_without_owner(fact))


def is_third_party(fact: ThirdParty, line: str) -> bool:
    """Whether the line holds what is another person's fact without naming that person."""
    rest = _without_owner(fact)
    named = any(word in plain(line).split() for word in plain(fact.owner).split())
    return bool(rest) and has_keys(rest, line) and not named and not names_person(line)


def _without_owner(fact: ThirdParty) -> tuple[str, ...]:
    owner = plain(fact.owner)
    return tuple(key for key in fact.keys if not any(part and plain(part) in owner for part in key.split("|")))


def springs(trap: Trap, line: str) -> bool:
    """Whether the line is the wrong one that the trap describes."""
    if not has_keys(trap.keys, line) or any(plain(word) in plain(line) for word in trap.unless):
        return False
    return trap.kind != "third_party" or not names_person(line)


def has_keys(keys: Iterable[str], line: str) -> bool:
    """Whether all entries occur; `a|b` means either. Case and accents do not count, numbers only as a whole."""
    text = plain(line)
    return all(any(_occurs(plain(part), text) for part in entry.split("|")) for entry in keys)


def _occurs(part: str, text: str) -> bool:
    if part.isdigit():
        return re.search(rf"(?<!\d){part}(?!\d)", text) is not None or f"-0{part}" in text
    return part in text


def names_person(text: str) -> bool:
    """Whether a relation word (`cousin`, `Nachbarin`, `hermano`, `collègue`) occurs."""
    return any(word in _PERSONS for word in _WORD.findall(plain(text)))


@lru_cache(maxsize=1 << 16)  # long chains compare the same few texts again and again
def plain(text: str) -> str:
    """Lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _same_person(fact: str, line: str) -> bool:
    """A line about somebody's cousin does not say it of the user, nor the other way round."""
    subject, other = _subject(fact), _subject(line)
    if other and other[:4] not in plain(fact):
        return False
    return not subject or names_person(line) or plain(fact).split()[0] in plain(line)


def _subject(text: str) -> str:
    """The relation word that a text begins with (`His young cousin ...`), '' where it begins otherwise."""
    for at, word in enumerate(_WORD.findall(plain(text))[:4]):
        if word in _PERSONS:
            return "" if _WORD.findall(text)[at + 1 : at + 2] == ["of"] else word
        possessive = f"{word}'s" in plain(text) or word == "s"
        if word not in _BEFORE_PERSON and not possessive:
            return ""
    return ""


def _turned_around(gold: Gold, line: str) -> bool:
    """Whether the line denies what the fact says, or likes what the fact denies."""
    fact_denies, line_denies = _denies(gold.fact, gold), _denies(line, gold)
    if fact_denies is None or line_denies is None or fact_denies == line_denies:
        return False
    return line_denies or bool(_FOR_IT.search(plain(line)))


def _denies(text: str, gold: Gold) -> bool | None:
    """Whether the clauses that speak of the fact are negated (an odd number of times); None where they differ."""
    clauses = _CLAUSE.split(_IN_ITS_PLACE.sub(r"\1, not ", plain(text)))
    found = {len(_NEGATION.findall(clause)) % 2 == 1 for clause in clauses if _touches(gold, clause)}
    return found.pop() if len(found) == 1 else None


def _touches(gold: Gold, clause: str) -> bool:
    if gold.keys:
        return any(_occurs(plain(part), clause) for entry in gold.keys for part in entry.split("|"))
    return Words.of(gold.fact, gold.names).shared(clause) > 0
