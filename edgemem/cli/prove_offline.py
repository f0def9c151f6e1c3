"""`edgemem doctor --prove-offline`: a chat, an update and a report in a process that can open no socket.

Python tells of every socket before it is made (audit events), and each is refused and counted. What is not Python (the
model library, SQLite) and child processes are kept off by a network namespace without interfaces, where the system lets
us have one (Linux). The run happens in a folder of its own, whose file modes are checked afterwards.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgemem.cli.options import Run
from edgemem.errors import EngineFailed

SAID = "I live in Bern with my two cats, and I am learning the cello."
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


def prove_offline(run: Run) -> dict[str, Any]:
    """What happened. Raises EngineFailed when the run itself did not work (no model, for instance)."""
    settings = run.settings
    asked = {"model": settings.model, "threads": settings.threads, "context_tokens": settings.context_tokens}
    with tempfile.TemporaryDirectory(prefix="edgemem-offline-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "edgemem.cli.prove_offline", folder],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no word"]
            raise EngineFailed(f"the run without network failed: {last[0]}", "does `edgemem doctor` find a model?")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found | {"wrong_modes": wrong_modes(Path(folder))}


def wrong_modes(folder: Path) -> list[str]:
    """Files and folders below that others may read or write."""
    if os.name != "posix":
        return []
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    return [str(path.relative_to(folder)) for path in sorted(paths) if stat.S_IMODE(path.stat().st_mode) & 0o077]


def refuse_sockets() -> list[str]:
    """From now on no socket can be made in this process; the list grows by each try."""
    tried: list[str] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            tried.append(event)
            raise PermissionError(f"no network here: {event}")

    sys.addaudithook(refuse)
    return tried


def leave_network() -> bool:
    """Go into a network namespace without interfaces; False where the system does not let us."""
    if not sys.platform.startswith("linux"):
        return False
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    return unshare is not None and unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0


def interfaces() -> list[str]:
    """Network interfaces that are up (a new namespace has a loopback that is down)."""
    folder = Path("/proc/net/route")
    rows = folder.read_text().splitlines()[1:] if folder.exists() else []
    return sorted({row.split()[0] for row in rows})


def _child(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    alone = leave_network()
    tried = refuse_sockets()
    refused = _refuses_at_all()
    tried.clear()
    from edgemem.assistant import open_assistant
    from edgemem.catalogue import resolve
    from edgemem.opening import open_model
    from edgemem.places import places

    ours, theirs = places(folder), places()
    path = asked["model"]
    if not path.startswith("scripted:"):
        path = str(resolve(path, cache=theirs.cache, config=theirs.config, persist=False).path)
    opened = open_model(
        path,
        where=ours,
        context_tokens=asked["context_tokens"],
        threads=asked["threads"],
        offline=True,
        persist=False,
    )
    with open_assistant("proof", engine=opened.engine, data_dir=folder, policy="edits", review="off") as assistant:
        chat = assistant.open_chat()
        answer = "".join(piece.text for piece in chat.reply(SAID))
        update = chat.remember()
        lines = [line.text for line in assistant.memory().lines]
        report = [assistant.store.why(line.id).origin for line in assistant.memory().lines]
        chat.close()
    return {
        "refuses": refused,
        "sockets_tried": tried,
        "namespace": alone,
        "routes": interfaces() if alone else [],
        "answer_characters": len(answer),
        "learned_turns": update.folded_turns,
        "lines": lines,
        "report": report,
    }


def _refuses_at_all() -> bool:
    """Whether a socket is really refused: a proof that cannot fail proves nothing."""
    import _socket

    try:
        _socket.socket()
    except PermissionError:
        return True
    return False


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_child(Path(sys.argv[1]), json.load(sys.stdin))) + "\n")
