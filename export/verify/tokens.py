"""Tokenizer and chat template of a file against the checkpoint's: equal ids, equal bytes, and an end that ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from edgemem.engines.base import Engine
from edgemem.engines.template import ChatTemplate
from edgemem.values import Message

from ..checkpoint import read_json
from ..vocabulary import read_template
from .texts import tokenizer_texts
from .values import Check

CHATS = (
    [Message("user", "Hello!")],
    [Message("system", "Be brief."), Message("user", "Größe? 🙂")],
    [Message("user", "a\n\nb"), Message("assistant", "c"), Message("user", "  d ")],
    [Message("system", ""), Message("user", "x"), Message("assistant", "y\n"), Message("user", "<|im_end|>{{ z }}")],
)


class Binding(Protocol):
    """What these checks use of an engine beyond the seam."""

    def tokenize(self, text: str, *, special: bool) -> list[int]: ...

    def is_end(self, token: int) -> bool: ...


def check_tokenizer(binding: Binding, source: Path) -> Check:
    """(a) The ids of 2,000 texts, control tokens read as such."""
    original = Tokenizer.from_file(str(source / "tokenizer.json"))
    control = tuple(str(one["content"]) for one in read_json(source / "tokenizer.json").get("added_tokens", []))
    texts = list(tokenizer_texts(control[:12]))
    wrong = [
        text
        for text in texts
        if original.encode(text, add_special_tokens=False).ids != binding.tokenize(text, special=True)
    ]
    measured = {"texts": len(texts), "different": len(wrong)}
    if not wrong:
        return Check("tokenizer", "passed", measured, {"different": 0})
    reason = f"{len(wrong)} of {len(texts)} texts get other ids, the first one: {wrong[0][:60]!r}"
    return Check("tokenizer", "failed", measured, {"different": 0}, reason)


def check_template(engine: Engine, binding: Binding, template: ChatTemplate, source: Path) -> Check:
    """(b) The template's bytes and what it renders are the checkpoint's, and the token after an answer is an end."""
    original = read_template(source)
    reference = ChatTemplate(original, bos=_token(source, "bos_token"), eos=_token(source, "eos_token"))
    try:
        different = [chat for chat in CHATS if reference.render(chat) != template.render(chat)]
    finally:
        reference.close()
    ends = ends_after_answer(engine, binding)
    measured = {"chats": len(CHATS), "different": len(different), "ends": ends}
    allowed = {"different": 0, "ends": True}
    if template.source != original:
        return Check("template", "failed", measured, allowed, "the template's bytes are not the checkpoint's")
    if different:
        return Check("template", "failed", measured, allowed, f"{len(different)} chats render to other bytes")
    if not ends:
        reason = "what the template puts after an answer is no end token, so answers would not stop"
        return Check("template", "failed", measured, allowed, reason)
    return Check("template", "passed", measured, allowed)


def ends_after_answer(engine: Engine, binding: Binding) -> bool:
    """Whether the first id between an answer and the next message ends a generation."""
    following: Sequence[int] = engine.render_next(Message("user", "x"))
    return bool(following) and binding.is_end(following[0])


def _token(source: Path, name: str) -> str:
    path = source / "tokenizer_config.json"
    found = read_json(path).get(name) if path.is_file() else None
    return str(found.get("content", "") if isinstance(found, dict) else found or "")
