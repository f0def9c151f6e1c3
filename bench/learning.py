"""Giving a chat to the shipped assistant as if it had taken place."""

from __future__ import annotations

from datetime import datetime

from edgemem.assistant import Assistant

from .values import Turns


def journal(assistant: Assistant, turns: Turns, time: datetime) -> None:
    """Journal the turns as one chat that has ended; what it tells is pending then."""
    chat = assistant.store.start_chat("bench")
    for role, text in turns:
        assistant.store.add_turn(chat, role, text, time)
    assistant.store.end_chat(chat)
