"""Forty chats of one user, each a fresh start: what a first token and an update cost early and late, and in all."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgemem.assistant import Assistant
from edgemem.store import open_store

from ..writing.cases import load_cases
from ..writing.cost import cost
from ..writing.run import Setup, writer

CHATS, TOKENS = 40, 800
TEMPLATE_TOKENS = 8  # what a chat template adds to a turn, about
QUESTION = "What should I do this weekend?"
USER = "bench"


def forty_chats(setup: Setup, chats: int = CHATS, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """For each chat what was computed. Texts come again when ours are used up."""
    pool = load_cases(["own"]) + load_cases(["retention"])
    cases = [case for case in cost(pool, count=chats, tokens=tokens) if case.turns]
    found = []
    history = 0
    with TemporaryDirectory(prefix="edgemem-bench-") as home:
        for number in range(chats):
            turns = cases[number % len(cases)].turns
            question = setup.engine.count(QUESTION) + TEMPLATE_TOKENS
            row = _chat(setup, Path(home), turns)
            found.append({"chat": number + 1, "history_tokens": history + question, "question_tokens": question, **row})
            history += sum(setup.engine.count(text) + TEMPLATE_TOKENS for _, text in turns)
    return found


def _chat(setup: Setup, home: Path, turns: tuple[tuple[Any, str], ...]) -> dict[str, Any]:
    """A start, a question's first token, a chat that was held meanwhile, its update, and the end."""
    with open_store(home, USER) as store:
        assistant = Assistant(
            USER,
            setup.engine,
            store,
            writer(setup),
            setup.prompts,
            setup.budget_tokens,
            cache=setup.cache,
            keeps_computed=True,
            review="off",
        )
        first_token_s, prefilled = _first_token(assistant)
        chat = store.start_chat("bench")
        for role, text in turns:
            store.add_turn(chat, role, text, datetime.now(UTC))
        store.end_chat(chat)
        report = assistant.remember()
        assistant.kept.finish()
        return {
            "first_token_s": first_token_s,
            "prefilled": prefilled,
            "update_s": report.seconds,
            "update_prefilled": report.stats.prompt_tokens - report.stats.cached_tokens,
            "kept_prefilled": assistant.kept.computed_tokens,
            "memory_tokens": report.memory_tokens,
        }


def _first_token(assistant: Assistant) -> tuple[float, int]:
    """Seconds and tokens read; the answer is broken off, so it leaves no turn."""
    chat = assistant.open_chat()
    started = time.perf_counter()
    shown: list[float] = []
    stats = None
    for piece in chat.reply(QUESTION, cancelled=lambda: bool(shown)):
        shown.append(time.perf_counter() - started)
        stats = piece.stats
    chat.close()
    assert stats is not None
    return shown[0], stats.prompt_tokens - stats.cached_tokens
