"""The memory skill: twelve chats of our own learned by the shipped assistant, each in a home of its own.

What is judged is the memory afterwards, by fixed words; which words is in `export/texts/skill.jsonl`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgemem.assistant import Assistant, UpdateReport
from edgemem.engines.base import Engine
from edgemem.memory.splitting import split
from edgemem.memory.words import all_words, content_words
from edgemem.policies import open_policy
from edgemem.prompting.prompts import Prompts
from edgemem.store import open_store
from edgemem.values import BUDGET_TOKENS, Operation

from ..apart import Progress
from ..own_texts import WHEN, SkillChat, skill_chats
from .values import Skill

USER = "export"
OWN_WORDS = 0.5
"""Share of a line's words that the user said: a line in another language, or out of thin air, has fewer."""


@dataclass(frozen=True, slots=True)
class _Learned:
    report: UpdateReport
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def added(self) -> list[str]:
        return [line for line in self.after if line not in self.before]


def measure_skill(
    engine: Engine, prompts: Prompts, policy: str, thresholds: Mapping[str, float], report: Progress
) -> Skill:
    """Learn every chat with `policy` and judge the memories."""
    chats = skill_chats()
    started = time.perf_counter()
    learned = []
    with tempfile.TemporaryDirectory(prefix="edgemem-skill-") as folder:
        for number, chat in enumerate(chats, 1):
            home = Path(folder) / chat.id
            learned.append(_learn(engine, prompts, policy, thresholds, chat, home, Path(folder) / "kv"))
            report("memory skill", number, len(chats))
    return judge(chats, learned, (time.perf_counter() - started) / len(chats))


def _learn(
    engine: Engine,
    prompts: Prompts,
    policy: str,
    thresholds: Mapping[str, float],
    chat: SkillChat,
    home: Path,
    cache: Path,
) -> _Learned:
    with open_store(home, USER) as store:
        write = open_policy(policy, thresholds=thresholds)
        assistant = Assistant(USER, engine, store, write, prompts, cache=cache, review="off")  # the model, not consent
        if chat.memory_before:
            lines = [Operation("add", section="About", text=text, origin="imported") for text in chat.memory_before]
            store.commit(lines, base=store.read(), cause="command")
        before = tuple(line.text for line in store.read().lines)
        number = store.start_chat("export")
        for role, text in chat.turns:
            store.add_turn(number, role, text, WHEN)
        store.end_chat(number)
        report = assistant.remember()
        return _Learned(report, before, tuple(line.text for line in store.read().lines))


def judge(chats: tuple[SkillChat, ...], learned: list[_Learned], seconds: float) -> Skill:
    """Counts over all chats."""
    pairs = list(zip(chats, learned, strict=True))
    accepted = sum(len(one.report.operations) for one in learned)
    rejected = sum(len(revision.rejected) for one in learned for revision in one.report.revisions)
    return Skill(
        updates=len(chats),
        failed=sum(bool(one.report.error) or one.report.set_aside > 0 for one in learned),
        planted=sum(len(chat.planted) for chat in chats),
        kept=sum(any(fact.stands_in(line) for line in one.after) for chat, one in pairs for fact in chat.planted),
        proposed=accepted + rejected,
        accepted=accepted,
        wrong_lines=sum(any(trap.stands_in(line) for trap in chat.traps) for chat, one in pairs for line in one.added),
        stale_left=sum(_stale(chat, one) for chat, one in pairs),
        added=sum(len(one.added) for one in learned),
        in_language=sum(_own_words(chat, line) for chat, one in pairs for line in one.added),
        own_notes=sum(not _verbatim(chat, line) for chat, one in pairs for line in one.added),
        budget_kept=all(one.report.memory_tokens <= BUDGET_TOKENS for one in learned),
        seconds=round(seconds, 3),
    )


def _stale(chat: SkillChat, one: _Learned) -> int:
    """Old facts that still stand as they were; a line that also has the new value is fine."""
    lines = [line for line in one.after if not any(fact.stands_in(line) for fact in chat.planted)]
    return sum(any(fact.stands_in(line) for line in lines) for fact in chat.stale)


def _verbatim(chat: SkillChat, line: str) -> bool:
    """Whether the line is a sentence of the user's as it was said: what is kept where the model's note is no good."""
    said = [all_words(sentence) for role, text in chat.turns if role == "user" for sentence in split(text)]
    return all_words(line) in said


def _own_words(chat: SkillChat, line: str) -> bool:
    said = {word for role, text in chat.turns if role == "user" for word in content_words(text)}
    words = content_words(line)
    return not words or len(words & said) > OWN_WORDS * len(words)
