"""Runs mem0 for one user. A script for mem0's own environment: JSON requests on stdin, an answer to each on stdout.

`{"add": [{"role", "content"}, ...], "session": N}` learns a chat; `{"search": TEXT, "learned": N}` finds memories of
the first N chats. Every attempt to connect to anything but this machine is refused and told. Ends when stdin does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

USER = "bench"
MOST = 1000  # memories of one user
FOUND = 100  # memories for one question: more than fit
PATIENCE_S = 3600
LOOPBACK = ("127.0.0.1", "::1", "localhost")
connections: dict[str, int] = {}
refused: list[str] = []


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: no address outside this machine, neither looked up nor connected to."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name not in LOOPBACK:
        refused.append(name)
        raise PermissionError(f"{name} is not this machine")
    if event == "socket.connect":
        connections[name] = connections.get(name, 0) + 1


class Problems(logging.Handler):
    """Counts what mem0 says went wrong: a reply that it cannot parse ends there and in no exception."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class Usage:
    """What the server says that mem0's calls took."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.calls = self.prompt_tokens = self.output_tokens = 0

    def note(self, _llm: object, response: Any, _parameters: object) -> None:
        self.calls += 1
        self.prompt_tokens += response.usage.prompt_tokens
        self.output_tokens += response.usage.completion_tokens


def open_memory(home: Path, base_url: str, encoder: Path, usage: Usage) -> Any:
    """mem0 with everything local: vectors and history below `home`, model on `base_url`, our encoder."""
    from mem0 import Memory  # type: ignore[import-not-found,unused-ignore]
    from mem0.embeddings.base import EmbeddingBase  # type: ignore[import-not-found,unused-ignore]
    from mem0.utils.factory import EmbedderFactory  # type: ignore[import-not-found,unused-ignore]

    from edgemem.bench.encoder import open_encoder  # type: ignore[import-not-found,unused-ignore]

    class MiniLM(EmbeddingBase):  # type: ignore[misc,unused-ignore]
        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            return self.embed_batch([text])[0]

        def embed_batch(self, texts: list[str], memory_action: str = "add") -> list[list[float]]:
            vectors: list[list[float]] = open_encoder(encoder).encode(texts).tolist()
            return vectors

    sys.modules["__main__"].MiniLM = MiniLM  # type: ignore[attr-defined]
    EmbedderFactory.provider_to_class["huggingface"] = "__main__.MiniLM"
    store = {"collection_name": "mem0", "path": str(home / "qdrant"), "on_disk": True, "embedding_model_dims": 384}
    model = {"model": "local", "api_key": "none", "openai_base_url": base_url, "temperature": 0.0}
    memory = Memory.from_config(
        {
            "llm": {"provider": "openai", "config": model | {"response_callback": usage.note}},
            "embedder": {"provider": "huggingface", "config": {"embedding_dims": 384}},
            "vector_store": {"provider": "qdrant", "config": store},
            "history_db_path": str(home / "history.db"),
        }
    )
    # Its client gives up after ten minutes and asks again; a small machine may need longer for the first chat.
    memory.llm.client = memory.llm.client.with_options(timeout=PATIENCE_S, max_retries=0)
    return memory


def answer(memory: Any, request: dict[str, Any], usage: Usage, problems: Problems) -> dict[str, Any]:
    """What a request comes to."""
    if "search" in request:
        filters = {"user_id": USER, "session": {"lte": request["learned"]}}
        found = memory.search(request["search"], filters=filters, top_k=FOUND)
        return {"memories": [item["memory"] for item in found["results"]]}
    usage.start()
    problems.count = 0
    started = time.perf_counter()
    added = memory.add(request["add"], user_id=USER, metadata={"session": request["session"]})
    return {
        "seconds": time.perf_counter() - started,
        "added": len(added["results"]),
        "memories": [item["memory"] for item in memory.get_all(filters={"user_id": USER}, top_k=MOST)["results"]],
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "output_tokens": usage.output_tokens,
        "errors": problems.count,
    }


def main(home: Path, base_url: str, encoder: Path) -> None:
    sys.addaudithook(guard)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    usage, problems = Usage(), Problems()
    logging.getLogger().addHandler(problems)
    memory = open_memory(home, base_url, encoder, usage)
    for line in sys.stdin:
        try:
            found = answer(memory, json.loads(line), usage, problems)
        except Exception as error:  # noqa: BLE001  whatever mem0 raises is the answer
            found = {"problem": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(found | {"connections": connections, "refused": refused}) + "\n")
        out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
