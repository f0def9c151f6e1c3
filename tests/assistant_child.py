"""A process that chats and learns without end, and says what is done; `test_assistant_kill` kills it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from edgemem.assistant import open_assistant
from edgemem.engines.scripted import ScriptedEngine


def slowly() -> ScriptedEngine:
    """A model that takes a moment, so that a kill often falls into an answer or an update (which only scores)."""

    def answer(prompt: str) -> str:
        time.sleep(0.004)
        return "Noted, thank you."

    def score(prompt: str, option: str) -> float:
        time.sleep(0.002)  # two options: a sentence takes as long as an answer
        return -1.0

    return ScriptedEngine(answer, scores=score)


def main() -> None:
    folder, first = Path(sys.argv[1]), int(sys.argv[2])
    with open_assistant("ana", engine=slowly(), data_dir=folder) as assistant:
        number = first
        while True:
            chat = assistant.open_chat()
            for _ in range(2):
                list(chat.reply(f"I like {number}things"))
                print(f"said {number}things", flush=True)
                number += 1
            chat.remember()
            print("learned", flush=True)
            chat.close()


if __name__ == "__main__":
    main()
