"""The few dials, where each value came from, and the one file edit that `model use` makes.

Order of precedence: flags, environment (EDGEMEM_*), ./edgemem.toml, the user's config.toml, the default.
Knows nothing about what the values do.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from edgemem.errors import InvalidInput, StoreWriteFailed
from edgemem.kv_files import private_folder
from edgemem.memory.sensitivity import sensitive_classes
from edgemem.places import places
from edgemem.values import BUDGET_TOKENS, SECTIONS, Review

Device = Literal["auto", "cpu", "gpu"]
Policy = Literal["edits", "overwrite"]

PROJECT_FILE = "edgemem.toml"
USER_FILE = "config.toml"
DEFAULT_MODEL = "qwen2.5-coder-1.5b"
TRUE_WORDS = frozenset({"1", "true", "yes", "on", "y"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", "n", ""})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the commands run with. Tokens are counts, `idle_s` is seconds.

    None means: let the model card, the engine or the machine decide. `sources` names the origin of each value,
    `user_file` is where the user's own settings are looked for (it need not exist).
    """

    user: str = "default"
    model: str = DEFAULT_MODEL
    data_dir: Path | None = None
    device: Device = "auto"
    gpu_layers: int | None = None
    context_tokens: int | None = None
    threads: int | None = None
    policy: Policy | None = None
    budget_tokens: int = BUDGET_TOKENS
    idle_s: float = 120.0
    tune: bool = True
    offline: bool = False
    mask_secrets: bool = True
    review: Review = "sensitive"
    never_keep: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    user_file: Path = Path(USER_FILE)

    def values(self) -> dict[str, object]:
        """The dials without the bookkeeping, ready for JSON."""
        found = {name: getattr(self, name) for name in KEYS}
        return {name: _plain(value) for name, value in found.items()}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


KEYS: tuple[str, ...] = tuple(f.name for f in fields(Settings) if f.name not in ("sources", "user_file"))
PREFIX = "EDGEMEM_"
PASSPHRASES = ("EDGEMEM_PASSPHRASE", "EDGEMEM_PASSPHRASE_NEW")  # no settings: they are shown nowhere
ENVIRONMENT: Mapping[str, str] = {name: PREFIX + name.upper() for name in KEYS} | {"data_dir": "EDGEMEM_HOME"}


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty text")
    return value


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value.expanduser()
    return Path(_word(value)).expanduser()


def _choice(allowed: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return str(value)

    return read


def _number(least: int, most: int | None = None) -> Callable[[object], int]:
    wanted = f"a whole number from {least}" + (f" to {most}" if most is not None else " up")

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,12}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(wanted)
        if value < least or (most is not None and value > most):
            raise ValueError(wanted)
        return value

    return read


def _seconds(value: object) -> float:
    wanted = "a number of seconds from 0 up (0 switches learning while idle off)"
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else -1.0
    except ValueError:
        raise ValueError(wanted) from None
    if not 0 <= number < 1e9:
        raise ValueError(wanted)
    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in TRUE_WORDS | FALSE_WORDS:
        return value.strip().lower() in TRUE_WORDS
    raise ValueError("true or false")


def _sections(value: object) -> tuple[str, ...]:
    known = {name.casefold(): name for name in (*SECTIONS, *sensitive_classes())}
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(str(name).strip().casefold() in known for name in names):
        raise ValueError("sections or kinds of data, with commas: " + ", ".join(known.values()))
    return tuple(known[str(name).strip().casefold()] for name in names)


READERS: Mapping[str, Callable[[object], object]] = {
    "user": _word,
    "model": _word,
    "data_dir": _path,
    "device": _choice(get_args(Device)),
    "gpu_layers": _number(-1),
    "context_tokens": _number(512),
    "threads": _number(1, 1024),
    "policy": _choice(get_args(Policy)),
    # The least that still holds a few facts; the most is the paper's memory size.
    "budget_tokens": _number(64, BUDGET_TOKENS),
    "idle_s": _seconds,
    "tune": _switch,
    "offline": _switch,
    "mask_secrets": _switch,
    "review": _choice(get_args(Review)),
    "never_keep": _sections,
}


def load_settings(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Settings from all sources. A flag that is None was not given. `folder` is where edgemem.toml is looked for.

    Raises InvalidInput, naming the source and the key, for a value that cannot be used, an unknown key in a file
    or a file that is not TOML.
    """
    environment = os.environ if environment is None else environment
    layers = [
        _checked({k: v for k, v in (flags or {}).items() if v is not None}, "flag", _flag_name),
        _checked(_from_environment(environment), "environment", lambda key: ENVIRONMENT[key]),
        _read_file((folder or Path.cwd()) / PROJECT_FILE),
    ]
    user_file = places(_first(layers, "data_dir")).config / USER_FILE
    layers.append(_read_file(user_file))
    values: dict[str, Any] = {}
    sources = dict.fromkeys(KEYS, "default")
    for layer in reversed(layers):
        for key, (value, source) in layer.items():
            values[key], sources[key] = value, source
    if environment.get("HF_HUB_OFFLINE", "").strip().lower() in TRUE_WORDS and not values.get("offline"):
        values["offline"], sources["offline"] = True, "environment HF_HUB_OFFLINE"
    return Settings(**values, sources=MappingProxyType(sources), user_file=user_file)


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The known word most like `word`, or an empty text."""
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else ""


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """EDGEMEM_* variables that mean nothing, each with the nearest that does (or an empty text)."""
    named = (*ENVIRONMENT.values(), *PASSPHRASES)
    known = {name.removeprefix(PREFIX).lower(): name for name in named}
    unknown = (name for name in environment if name.startswith(PREFIX) and name not in known.values())
    return {name: known.get(nearest(name.removeprefix(PREFIX), list(known)), "") for name in sorted(unknown)}


def write_user_value(path: Path, key: str, value: str) -> None:
    """Set one text value in the user's config file and keep every other line. Raises StoreWriteFailed."""
    line = f"{key} = {json.dumps(value)}"
    old = path.read_text("utf-8").splitlines() if path.exists() else []
    top = next((n for n, text in enumerate(old) if text.lstrip().startswith("[")), len(old))
    at = next((n for n, text in enumerate(old[:top]) if re.match(rf"\s*{key}\s*=", text)), None)
    new = [*old[:top], line, *old[top:]] if at is None else [*old[:at], line, *old[at + 1 :]]
    temporary = path.with_name(path.name + ".new")
    try:
        private_folder(path.parent)
        temporary.write_text("\n".join(new) + "\n", "utf-8")
        temporary.chmod(0o600)
        temporary.replace(path)
    except OSError as error:
        raise StoreWriteFailed(f"cannot write {path}: {error.strerror}", "check the folder's permissions") from error


Layer = dict[str, tuple[Any, str]]


def _flag_name(key: str) -> str:
    return "--context" if key == "context_tokens" else "--" + key.replace("_", "-")


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    return {key: environment[name] for key, name in ENVIRONMENT.items() if environment.get(name)}


def _first(layers: list[Layer], key: str) -> Any:
    return next((layer[key][0] for layer in layers if key in layer), None)


def _checked(values: Mapping[str, object], source: str, name: Callable[[str], str]) -> Layer:
    found: Layer = {}
    for key, value in values.items():
        try:
            found[key] = (READERS[key](value), f"{source} {name(key)}")
        except ValueError as error:
            raise InvalidInput(f"{source} {name(key)}: {value!r} cannot be used", f"give {error}") from error
    return found


def _read_file(path: Path) -> Layer:
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}", "correct the line, or move the file away") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    for key in data:
        if key not in KEYS:
            like = nearest(key, list(KEYS))
            hint = f"did you mean {like}?" if like else "known keys: " + ", ".join(KEYS)
            raise InvalidInput(f"{path}: unknown key {key}", hint)
    found = _checked(data, f"file {path}", lambda key: key)
    if "data_dir" in found:
        found["data_dir"] = (path.parent / found["data_dir"][0], found["data_dir"][1])
    return {key: (value, f"file {path}") for key, (value, _) in found.items()}
