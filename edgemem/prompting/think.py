"""Reasoning between <think> tags is not part of an answer: it is neither shown nor remembered. Pure."""

from __future__ import annotations

import re

OPEN, CLOSE = "<think>", "</think>"
_WHOLE = re.compile(re.escape(OPEN) + r".*?(?:" + re.escape(CLOSE) + r"|\Z)", re.DOTALL)


def without_thinking(text: str) -> str:
    """`text` without its think parts; an unclosed one runs to the end, a lone closing tag ends one from the start."""
    text = _WHOLE.sub("", text)
    return text.rpartition(CLOSE)[2].strip()


class ThinkFilter:
    """The same for a stream of pieces: gives out what is certainly outside think tags."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._started = False

    def push(self, text: str) -> str:
        self._held += text
        out = []
        while True:
            tag = CLOSE if self._thinking else OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            if not self._thinking:
                out.append(before)
            self._held, self._thinking = after, not self._thinking
        keep = _possible_tag(self._held, tag)
        if not self._thinking:
            out.append(self._held[: len(self._held) - keep])
        self._held = self._held[len(self._held) - keep :] if keep else ""
        return self._trim("".join(out))

    def finish(self) -> str:
        held, self._held = self._held, ""
        return "" if self._thinking else self._trim(held)

    def _trim(self, text: str) -> str:
        """White space before the first word of the answer is the think part's, not the answer's."""
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        return text


def _possible_tag(text: str, tag: str) -> int:
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if tag.startswith(text[-n:])), 0)
