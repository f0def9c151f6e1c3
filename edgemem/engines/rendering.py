"""Chats as ids in a model's own template, for any engine: what a person writes never becomes a control token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgemem.engines.template import ChatTemplate
from edgemem.engines.writing import Pieces
from edgemem.errors import ModelUnsupported
from edgemem.values import Message


class Tokenizes(Protocol):
    """Text to ids; with `special`, control tokens in the text are control tokens."""

    def tokenize(self, text: str, *, special: bool) -> list[int]: ...

    def bos(self) -> list[int]: ...


class Vocabulary(Tokenizes, Pieces, Protocol):
    """Text to ids, and ids to text."""


class TextsAsIds:
    """What an engine with a vocabulary and a chat template says of texts; see `Engine`."""

    tokens: Vocabulary
    template: ChatTemplate

    def tokenize(self, text: str) -> list[int]:
        return self.tokens.tokenize(text, special=False)

    def detokenize(self, ids: Sequence[int]) -> str:
        return b"".join(self.tokens.piece(token) for token in ids).decode("utf-8", "replace")

    def count(self, text: str) -> int:
        return len(self.tokenize(text))

    def render(self, messages: Sequence[Message], *, think: bool = False) -> list[int]:
        return render(self.tokens, self.template, messages, think=think)

    def render_next(self, message: Message, *, think: bool = False) -> list[int]:
        return render_next(self.tokens, self.template, message, think=think)


def render(tokenizer: Tokenizes, template: ChatTemplate, messages: Sequence[Message], *, think: bool) -> list[int]:
    """See `Engine.render`."""
    shown, plain = _shield(tokenizer, messages)
    ids = _assemble(tokenizer, template.render(shown, think=think), plain)
    bos = tokenizer.bos()
    return ids if not bos or ids[: len(bos)] == bos else bos + ids


def render_next(tokenizer: Tokenizes, template: ChatTemplate, message: Message, *, think: bool) -> list[int]:
    """See `Engine.render_next`."""
    (shown,), plain = _shield(tokenizer, [message])
    mark = _mark(len(plain) + 1)
    text = template.render([Message("user", "-"), Message("assistant", mark), shown], think=think)
    _, found, after = text.partition(mark)
    if not found:
        raise ModelUnsupported("the model's chat template drops the assistant's answers")
    return _assemble(tokenizer, after, plain)


def _shield(tokenizer: Tokenizes, messages: Sequence[Message]) -> tuple[list[Message], dict[str, str]]:
    """Contents that spell control tokens go through the template as a mark, and are tokenized as plain text."""
    shown: list[Message] = []
    plain: dict[str, str] = {}
    for message in messages:
        text = message.content
        if tokenizer.tokenize(text, special=True) != tokenizer.tokenize(text, special=False):
            mark = _mark(len(plain))
            plain[mark] = text
            message = Message(message.role, mark)
        shown.append(message)
    return shown, plain


def _assemble(tokenizer: Tokenizes, text: str, plain: dict[str, str]) -> list[int]:
    ids: list[int] = []
    for mark, content in plain.items():
        before, _, text = text.partition(mark)
        ids += tokenizer.tokenize(before, special=True)
        ids += tokenizer.tokenize(content, special=False)
    return ids + tokenizer.tokenize(text, special=True)


def _mark(number: int) -> str:
    return f"\ue000edgemem-{number}\ue001"  # private-use characters: no tokenizer or template gives them a meaning
