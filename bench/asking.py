"""A question as it is put to the model, and what its reply is worth. Pure.

Three scores, never mixed: strict (the letter that the reply names), F1 (words of a free answer) and forced choice (the
option that the model finds likeliest). A reply that names no letter has no strict choice: it counts as wrong and,
apart, as not parsed.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .values import Case

LETTERS = string.ascii_lowercase
LETTER_TOKENS, TEXT_TOKENS, BOXED_TOKENS = 24, 64, 2048
"""Room for a reply: a letter and a few words; a short answer; thinking and an answer (PersonaMem v2)."""

_NAMED = re.compile(r"[(\[{]([a-z])[)\]}]", re.IGNORECASE)
_ALONE = re.compile(r"^\W*([a-z])(?:[).:,\s]|$)", re.IGNORECASE)
_ANSWER_IS = re.compile(r"\banswer(?: is|:)\s*\(?([a-z])\b(?!\w|')", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{\s*\(?\s*([a-z])\s*\)?\s*\}", re.IGNORECASE)
_ARTICLES = re.compile(r"\b(a|an|the|and)\b")


def question_text(case: Case) -> str:
    """The same words in every arm."""
    if case.form == "texts":
        return f"{case.question}\n\nAnswer in a few words."
    options = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, case.options, strict=False))
    if case.form == "letters":
        return f"{case.question}\n\n{options}\n\nAnswer with the letter of the best option, in brackets."
    last = LETTERS[len(case.options) - 1]
    return (
        f"{case.question}\n\nThis is a multiple-choice question. Choose the best of these options:\n{options}\n\n"
        f"Give the final answer as \\boxed{{a}} ... \\boxed{{{last}}}. "
        "Think between <think> and </think> before you answer."
    )


def reply_tokens(case: Case) -> int:
    """How long a reply may become."""
    return {"letters": LETTER_TOKENS, "texts": TEXT_TOKENS, "boxed": BOXED_TOKENS}[case.form]


def option_texts(case: Case) -> list[str]:
    """What is compared by likelihood: how a reply with each letter begins, or the options themselves."""
    if case.form == "texts":
        return list(case.options)
    letters = LETTERS[: len(case.options)]
    return [f"\\boxed{{{letter}}}" if case.form == "boxed" else f"({letter})" for letter in letters]


def chosen(case: Case, reply: str) -> int | None:
    """The option that the reply names; None where it names none, or several without saying which."""
    if case.form == "texts":
        return None
    text = reply.rpartition("</think>")[2]
    found = _BOXED.findall(text)[-1:] if case.form == "boxed" else _letters(text)
    if len(found) != 1:
        return None
    place = LETTERS.index(found[0].lower())
    return place if place < len(case.options) else None


def _letters(text: str) -> list[str]:
    """Letters in brackets; without any the letter that stands alone at the start, or after "answer is"."""
    named = list(dict.fromkeys(letter.lower() for letter in _NAMED.findall(text)))
    first = _ALONE.match(text) or _ANSWER_IS.search(text)
    return named or ([first[1]] if first else [])


def rotated(case: Case, by: int) -> Case:
    """The same question with each option `by` places further down, the last ones first."""
    size = len(case.options)
    moved = tuple(case.options[(place - by) % size] for place in range(size))
    leak = None if case.leak is None else (case.leak + by) % size
    return replace(case, options=moved, gold=(case.gold + by) % size, leak=leak)


def orders(case: Case, most: int) -> list[int]:
    """By how many places the options are moved: in how many orders their letters are compared. 0: as they are shown.

    All orders, or `most` of them evenly spaced (0: no limit). Whole texts have no letter, so one order is enough.
    """
    size = 1 if case.form == "texts" else len(case.options)
    number = min(size, most) if most else size
    return [round(turn * size / number) for turn in range(number)]


def likeliest(scores: Sequence[float]) -> int:
    """The option with the highest log-probability, the first of several."""
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def f1(answer: str, reply: str) -> float:
    """Overlap of words, both ways, as LoCoMo counts it, but for its stemming."""
    gold, said = _words(answer), _words(reply)
    if not gold or not said:
        return float(gold == said)
    shared = sum((Counter(gold) & Counter(said)).values())
    return 2 * shared / (len(gold) + len(said))


def _words(text: str) -> list[str]:
    plain = "".join(" " if letter in string.punctuation else letter for letter in text.casefold())
    return _ARTICLES.sub(" ", plain).split()
