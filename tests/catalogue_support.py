"""What the catalogue's tests share: a hub stand-in on the loopback, wheels, a small GGUF, calls in a process."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" + "0" * 34
Files = dict[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def small_gguf(data_bytes: int = 4096) -> bytes:
    """A sound GGUF of one tensor of `data_bytes` (a multiple of 4)."""
    key, value, name = b"general.architecture", b"llama", b"token_embd.weight"
    out = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    out += struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    out += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, data_bytes // 4, 0, 0)
    out = out.ljust((len(out) + 31) // 32 * 32, b"\0")
    return out + (bytes(range(251)) * (data_bytes // 251 + 1))[:data_bytes]


@dataclass
class Hub:
    """What the stand-in has and how it misbehaves; `log` keeps (method, path, range) of every request."""

    repos: dict[str, Files]
    url: str = ""
    drop_after: int = 0  # the next answer breaks off after so many bytes
    flip: bool = False  # bytes are served with one wrong, under the right digest
    silent: bool = False  # accepts connections and never answers
    honour_range: bool = True
    log: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def downloads(self) -> list[str]:
        """The ranges asked for, "" where the whole file was."""
        return [asked for method, path, asked in self.log if method == "GET" and "/resolve/" in path]


@contextmanager
def hub_stand_in(repos: dict[str, Files]) -> Iterator[Hub]:
    hub = Hub(repos)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            return None

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            hub.log.append((self.command, self.path, self.headers.get("Range", "")))
            hub.tokens.add(self.headers.get("Authorization", ""))
            hub.agents.add(self.headers.get("User-Agent", ""))
            if hub.silent:
                over.wait()
                return
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)", self.path):
                self.list_repo(listed[1])
            elif asked := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
                self.send_file(asked[1], asked[2], asked[3], body)
            else:
                self.refuse("EntryNotFound")

        def list_repo(self, repo: str) -> None:
            if repo not in hub.repos:
                return self.refuse("RepoNotFound")
            siblings = [{"rfilename": name} for name in hub.repos[repo]]
            content = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return None

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_file(self, repo: str, revision: str, name: str, body: bool) -> None:
            if repo not in hub.repos:
                return self.refuse("RepoNotFound")
            if revision not in (COMMIT, "main"):
                return self.refuse("RevisionNotFound")
            if name not in hub.repos[repo]:
                return self.refuse("EntryNotFound")
            content = hub.repos[repo][name]
            digest = sha256(content)
            if hub.flip:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = 0
            if hub.honour_range and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
                start = int(asked[1])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body:
                self.send_body(content[start:])
            return None

        def send_body(self, content: bytes) -> None:
            if hub.drop_after:
                content, hub.drop_after = content[: hub.drop_after], 0
                self.close_connection = True
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        over.set()
        server.shutdown()
        server.server_close()


CALL = """
import json, sys, time
from pathlib import Path
from edgemem import catalogue, errors
function, arguments = sys.argv[1], json.loads(sys.argv[2])
paths = {key: Path(arguments.pop(key)) for key in ("cache", "config") if key in arguments}
stages = []
if function in ("pull", "resolve"):
    paths["progress"] = lambda stage, done, total: stages.append([stage, done, total])
started = time.monotonic()
try:
    found = getattr(catalogue, function)(**arguments, **paths)
    answer = {"path": str(found.path), "sha256": found.sha256, "verified": found.verified, "repo": found.repo,
              "revision": found.revision}
except errors.EdgememError as error:
    answer = {"error": error.code, "message": error.message, "hint": error.hint}
answer["stages"] = stages
answer["seconds"] = time.monotonic() - started
answer["hub_imported"] = "huggingface_hub" in sys.modules
print(json.dumps(answer))
"""


@dataclass
class Machine:
    """One machine: its folders and its environment. Calls run in a fresh process, as the hub's library reads its
    variables once, at import."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def hub_cache(self) -> Path:
        return self.folder / "hf" / "hub"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def variables(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE", "PIP_"))}
        own = {
            "HF_HOME": str(self.folder / "hf"),
            "PIP_CONFIG_FILE": os.devnull,
            "HOME": str(self.folder / "home"),
        }
        return {**kept, **own, **self.environment}

    def call(self, function: str, spec: str, **arguments: Any) -> dict[str, Any]:
        given = {"spec": spec, "cache": str(self.folder / "cache"), "config": str(self.config), **arguments}
        run = subprocess.run(
            [sys.executable, "-c", CALL, function, json.dumps(given)],
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
        )
        assert (run.returncode, run.stderr) == (0, "")  # this layer prints nothing
        answer: dict[str, Any] = json.loads(run.stdout)
        return answer

    def card(
        self, name: str, content: bytes, *, repo: str = "org/tiny", file: str = "tiny.gguf", more: str = ""
    ) -> None:
        """A card of this machine's user for `content`."""
        folder = self.config / "models"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.toml").write_text(
            f'[source]\nrepo = "{repo}"\nrevision = "{COMMIT}"\n\n[[files]]\nfile = "{file}"\n'
            f'size = {len(content)}\nsha256 = "{sha256(content)}"\n{more}'
        )

    def partial(self, content: bytes, repo: str = "org/tiny") -> Path:
        folder = self.hub_cache / ("models--" + repo.replace("/", "--")) / "blobs"
        return folder / f"{sha256(content)}.edgemem.incomplete"


def write_wheel(index: Path, package: str, version: str, member: str, content: bytes) -> Path:
    """A wheel that holds `content` as `member`, in a package index that is a folder."""
    stem = package.replace("-", "_")
    information = f"{stem}-{version}.dist-info"
    files = {
        member: content,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest64(data)},{len(data)}\n" for name, data in files.items())
    files[f"{information}/RECORD"] = (record + f"{information}/RECORD,,\n").encode()
    folder = index / package
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return wheel


def _digest64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_parts(index: Path, content: bytes, part_bytes: int, package: str = "tiny-part{part}") -> str:
    """`content` as wheels of `part_bytes` each in `index`; returns the mirror's lines for a card."""
    parts = (len(content) + part_bytes - 1) // part_bytes
    for part in range(1, parts + 1):
        name = package.replace("{part}", str(part))
        piece = content[(part - 1) * part_bytes : part * part_bytes]
        write_wheel(index, name, "1.0", f"{name.replace('-', '_')}/data/part{part:02}.bin", piece)
    return (
        f'[[files.mirrors]]\nkind = "wheels"\npackage = "{package}"\nversion = "1.0"\nparts = {parts}\n'
        f'part_bytes = {part_bytes}\nmember = "*/data/part{{part:02}}.bin"\n'
    )
