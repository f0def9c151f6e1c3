"""A process that uses a store until it is killed or done; every line it prints was durable before it was printed.

python store_child.py DATA work SEED          exchanges, commits and undoes until killed (says ready first)
python store_child.py DATA die STEP ACT       one commit or undo, ends itself by SIGKILL at the protocol's STEP
python store_child.py DATA chats NAME COUNT   COUNT chats, each learned at its end
    python store_child.py DATA commits NAME COUNT COUNT commits, as fast as it can
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from edgemem.errors import StoreBusy
from edgemem.store import UserStore, open_store
from edgemem.values import Operation, Stats, Turn


def say(*words: object) -> None:
    print(*words, flush=True)


def exchange(store: UserStore, chat: int, text: str) -> None:
    now = datetime.now(UTC)
    question, reply = store.add_exchange(chat, text, f"reply to {text}", now, now, Stats())
    say("turn", question.id)
    say("turn", reply.id)


def learn(store: UserStore, turns: list[Turn]) -> None:
    """Fold the user turns of one chat, each as a line of its own."""
    asked = [turn for turn in turns if turn.role == "user"]
    operations = [Operation("add", None, "About", turn.text, sources=(turn.id,)) for turn in asked]
    store.commit(operations, base=store.read(), cause="update", folded=[turn.id for turn in asked])
    say("folded", *(turn.id for turn in asked))


def work(store: UserStore, seed: str) -> None:
    chance = random.Random(seed)
    say("ready")
    sys.stdin.readline()
    chat = store.start_chat()
    for number in range(10_000):
        exchange(store, chat, f"exchange {number} of {seed}")
        for turns in store.pending(chat):
            learn(store, turns)
        if chance.random() < 0.3:
            store.undo()
        if chance.random() < 0.3:
            lines = store.read().lines
            operations = [Operation("delete", line.id) for line in lines[:-3]]
            store.commit(operations, base=store.read(), cause="compact")


def die(data: Path, step: str, act: str) -> None:
    def stop(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_store(data, "ada", step=stop) as store:
        if act == "undo":
            store.undo()
        for turns in store.pending() if act == "commit" else []:
            learn(store, turns)
        if act == "forget":
            store.forget(words="marzipan")
    say("survived")


def chats(store: UserStore, name: str, count: int) -> None:
    for number in range(count):
        chat = store.start_chat()
        exchange(store, chat, f"{name} {number} first")
        exchange(store, chat, f"{name} {number} second")
        store.end_chat(chat)
        try:
            with store.learning():
                for turns in store.pending():
                    learn(store, turns)
        except StoreBusy:
            time.sleep(0.005)  # the other learns, this chat's turns too


def commits(store: UserStore, name: str, count: int) -> None:
    for number in range(count):
        operations = [Operation("add", None, "Plans", f"{name} {number}"), Operation("delete", 1)]
        store.commit(operations, base=store.read(), cause="command")


def main() -> None:
    data, act, *rest = sys.argv[1:]
    if act == "die":
        die(Path(data), *rest)
        return
    with open_store(Path(data), "ada") as store:
        if act == "work":
            work(store, rest[0])
        elif act == "chats":
            chats(store, rest[0], int(rest[1]))
        else:
            commits(store, rest[0], int(rest[1]))


if __name__ == "__main__":
    main()
