"""A process that chats and learns without end, and says what is done; `test_assistant_kill` kills it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from notes_support import NOTES, last_message

from edgemem.assistant import open_assistant
from edgemem.engines.scripted import ScriptedEngine


def slowly(prompt: str) -> str:
    """A model that takes a moment, so that a kill often falls into an answer or an update."""
    time.sleep(0.004)
    if NOTES not in prompt:
        return "Noted, thank you."
    return f"ADD Preferences: Likes {last_message(prompt).split()[-1]}"


def main() -> None:
    folder, first = Path(sys.argv[1]), int(sys.argv[2])
    with open_assistant("ana", engine=ScriptedEngine(slowly), data_dir=folder) as assistant:
        number = first
        while True:
            chat = assistant.open_chat()
            for _ in range(2):
                list(chat.reply(f"I like thing{number}"))
                print(f"said thing{number}", flush=True)
                number += 1
            chat.remember()
            print("learned", flush=True)
            chat.close()


if __name__ == "__main__":
    main()
