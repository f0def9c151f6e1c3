"""Two thousand texts to tokenize: our own in thirteen languages, code, emoji, numbers, spaces, control tokens, and odd
mixtures of them. The same ones each time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgemem.prompting.prompts import load_prompts

from ..own_texts import calibration_chats, held_out_texts, skill_chats

COUNT = 2000
ODD = (
    "🙂🚀👩‍👩‍👧‍👦🇵🇹✅",
    "e\u0301a\u0308o\u0302 — combining",
    "مرحبا بالعالم، كيف الحال؟",
    "नमस्ते दुनिया, आज मौसम अच्छा है।",
    "안녕하세요, 오늘은 비가 와요.",
    "สวัสดีครับ วันนี้อากาศดี",
    "שלום עולם",
    "Xin chào, tôi thích phở.",
    "  \t\n\n   \r\n x",
    "1234567890 3.14159 1,000,000 0x7fff 2026-11-25",
    "I'll we've they'd SHE'S it’s",
    "<b>tags</b> & {{ braces }} [brackets] \\ \\n",
    "#include <vector>\nint main() { return std::vector<int>{1, 2}[0]; }",
    "SELECT name, count(*) FROM users WHERE id >= 10 GROUP BY 1;",
    "\u200b\u00a0\ufeffzero width",
    "ﬁ ﬂ ½ ² ℃ Ⅷ",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈",
)


def tokenizer_texts(control: tuple[str, ...], count: int = COUNT) -> Iterator[str]:
    """Texts; `control` are the model's control tokens, which some of them spell."""
    pool = [message.content for chat in calibration_chats(load_prompts())[1:] for message in chat]
    pool += [text for chat in skill_chats() for _, text in chat.turns] + held_out_texts() + list(ODD)
    yield from pool
    draw = random.Random(20261125)
    for _ in range(count - len(pool)):
        yield "".join(_piece(draw, pool, control) for _ in range(draw.randint(1, 4)))


def _piece(draw: random.Random, pool: list[str], control: tuple[str, ...]) -> str:
    kind = draw.random()
    if kind < 0.12 and control:
        return draw.choice(control)
    if kind < 0.3:
        return draw.choice(ODD)
    if kind < 0.4:
        return draw.choice(("", " ", "  ", "\n", "\n\n", "\t")) * draw.randint(1, 5)
    if kind < 0.45:
        return chr(
            draw.choice((draw.randint(0x20, 0x2FF), draw.randint(0x370, 0x2FFF), draw.randint(0x1F300, 0x1FAFF)))
        )
    text = draw.choice(pool)
    start = draw.randrange(len(text))
    return text[start : start + draw.randint(1, 120)]
