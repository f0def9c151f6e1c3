"""How the tests' scripted models tell a request for notes from a chat, and answer it."""

from __future__ import annotations

NOTES = "You keep notes about a user"
"""Stands in every prompt of an update by `edits` but those of `REQUESTS`, and in no other one."""
REQUESTS = "Of one sentence of the message say what it is"
"""Stands in the prompts of its look for requests."""


def last_message(prompt: str) -> str:
    """The message that a prompt asks an answer to."""
    return prompt.rsplit("<|user|>", 1)[1].split("<|end|>")[0]


def noting(prompt: str) -> str:
    """Answers of a model that notes what it is told with `I like ...`, and chats otherwise."""
    if NOTES not in prompt:
        return "Fine."
    message = last_message(prompt)
    return "ADD Preferences: Likes " + message.split("I like ")[1] if "I like " in message else "NONE"
