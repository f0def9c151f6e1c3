"""Reads the imports of a package and says which rule of its architecture is broken, and where.

It reads source text only (ast) and imports nothing of what it checks. Imports inside functions count as well, so
that no cycle hides there. Imports for the type checker alone count for everything but cycles: they never run. The
rules are docs/architecture.md's; the tables below are the rules.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

# First match counts. Patterns are module names without the leading "edgemem.".
LAYERS: tuple[tuple[str, int], ...] = (
    ("values", 0),
    ("errors", 0),
    ("engines.base", 0),  # the protocol: values only
    ("kv_files", 1),
    ("prompting", 1),
    ("prompting.*", 1),
    ("memory", 1),
    ("memory.*", 1),
    ("policies", 1),
    ("policies.*", 1),
    ("store", 2),
    ("store.*", 2),
    ("engines", 2),
    ("engines.*", 2),
    ("catalogue", 2),
    ("catalogue.*", 2),
    ("places", 2),
    ("machine", 2),
    ("settings", 2),
    ("demo", 2),
    ("demo.*", 2),
    ("opening", 3),
    ("kept_memory", 3),
    ("assistant", 3),
    ("assistant.*", 3),
    ("cli", 4),
    ("cli.*", 4),
    ("__main__", 4),
    ("", 4),  # edgemem itself: the face of the package
)

# Outside libraries: where each may be imported. One that is not listed may be imported nowhere.
HOMES: Mapping[str, tuple[str, ...]] = {
    "sqlite3": ("store.journal",),
    "sqlite_utils": ("store.journal",),
    "huggingface_hub": ("catalogue.hub",),
    "llama_cpp": ("engines.llama_binding",),
    "typer": ("cli", "cli.*", "__main__"),
    "click": ("cli", "cli.*"),
    "rich": ("cli", "cli.*"),
    "prompt_toolkit": ("cli", "cli.*"),
    "sqlcipher3": ("store.journal",),
    "cryptography": ("store.sealing",),
    "keyring": ("cli.passphrase",),
    "filelock": ("store.locks",),
    "platformdirs": ("places",),
    "jinja2": ("engines.template_worker",),
    "rapidfuzz": ("memory.similar",),
    "regex": ("memory.pattern",),
    "psutil": ("machine",),
    "numpy": ("engines.*",),
    "onnxruntime": ("engines.onnx_binding",),
    "tokenizers": ("engines.onnx_tokenizer",),
}

# Standard modules that speak to a network. urllib.parse only reads text, so it is not among them.
NETWORK = {
    *("aiohttp", "asyncio", "ftplib", "http.client", "http.server", "httpx", "imaplib", "poplib", "requests"),
    *("smtplib", "socket", "socketserver", "ssl", "telnetlib", "urllib", "urllib.error", "urllib.request"),
    *("urllib.response", "urllib3", "websockets", "xmlrpc"),
}
NETWORK_HOMES = ("catalogue", "catalogue.*", "peers.loopback")  # the last one of the bench: this machine only
PRINTING_HOMES = ("cli", "cli.*")
PARTS = ("bench", "export")  # parts beside the runtime, which only the command line mounts
MOUNTING_HOMES = ("cli", "cli.*")
PART_HOMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "bench": {
        "typer": ("cli", "cli.*"),
        "bm25s": ("bm25",),
        "atheris": ("trust.fuzz_child",),
        "sqlite3": ("trust.crashes_run",),  # looks at journals from outside
        "onnxruntime": ("encoder",),
        "tokenizers": ("encoder",),
        "numpy": ("encoder",),
        "pynvml": ("energy",),
        "mem0": ("peers.mem0.driver",),
    },  # its commands; all else of it is library and neither prints nor asks
    "export": {
        "typer": ("cli", "cli.*"),
        "filelock": ("busy",),
        "numpy": ("*",),
        "safetensors": ("checkpoint",),
        "gguf": ("vocabulary", "convert", "dequantize", "lora_gguf", "quantize", "imatrix_file"),
        "llama_cpp": ("quantize", "imatrix"),
        "tokenizers": ("verify.tokens",),
        "torch": ("torch_model",),
        "transformers": ("torch_model",),
        "peft": ("torch_model",),
        "onnx": ("onnx_genai",),
        "onnx_ir": ("onnx_stream",),
        "optimum": ("optimum_child",),
        "onnxruntime_genai": ("onnx_genai",),
    },
}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    type_only: bool = False


@dataclass(frozen=True)
class Module:
    """One source file: its name without the package's, what it imports (full names) and where it prints."""

    name: str
    imports: tuple[Import, ...]
    prints: tuple[int, ...]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def layer_of(name: str) -> int | None:
    return next((layer for pattern, layer in LAYERS if fnmatch(name, pattern)), None)


def _called(node: ast.Call) -> str:
    function = node.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _base(node: ast.ImportFrom, package: tuple[str, ...]) -> str:
    """What `from X import` stands for, relative ones resolved against the package that the file is in."""
    parts = package[: len(package) - node.level + 1] if node.level else ()
    return ".".join([*parts, *([node.module] if node.module else [])])


def _type_only(tree: ast.AST) -> set[ast.AST]:
    """All nodes below `if TYPE_CHECKING:`."""
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    return {node for block in blocks for statement in block.body for node in ast.walk(statement)}


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[Import]:
    type_only = _type_only(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, node in type_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from a import b` may mean the module a.b or a name in a; _inside() decides.
            names = (f"{_base(node, package)}.{alias.name}" for alias in node.names)
            yield from (Import(name, node.lineno, node in type_only) for name in names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield Import(name.value, node.lineno)


def _prints(tree: ast.AST) -> tuple[int, ...]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return tuple(sorted(call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"))


def read_package(folder: Path, name: str = "edgemem", leave_out: tuple[str, ...] = ()) -> dict[str, Module]:
    """All modules of the package in `folder`, by name without the leading "edgemem.". Folders directly below that
    are named in `leave_out` are not read."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[0] in leave_out:
            continue
        is_package = parts[-1] == "__init__"
        dotted = parts[:-1] if is_package else parts
        tree = ast.parse(path.read_text("utf-8"), str(path))
        package = (*name.split("."), *(dotted if is_package else dotted[:-1]))
        imports = sorted(set(_imports(tree, package)), key=lambda found: (found.line, found.module))
        modules[".".join(dotted)] = Module(".".join(dotted), tuple(imports), _prints(tree))
    return modules


def _inside(module: str, modules: Mapping[str, Module], package: str) -> str | None:
    """The module of the package that an imported name means; None where it is not of the package."""
    if module != package and not module.startswith(package + "."):
        return None
    inner = module.removeprefix(package).removeprefix(".")
    while inner and inner not in modules and inner.split(".")[0] not in PARTS:
        inner = inner.rpartition(".")[0]
    return inner


def _edges(modules: Mapping[str, Module], package: str, *, that_run: bool = False) -> dict[str, dict[str, int]]:
    """module -> imported module of the package -> line."""
    edges: dict[str, dict[str, int]] = {name: {} for name in modules}
    for name, module in modules.items():
        for found in module.imports:
            if that_run and found.type_only:
                continue
            target = _inside(found.module, modules, package)
            if target is not None:
                edges[name].setdefault(target, found.line)
    return edges


def _direction(edges: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for name, targets in edges.items():
        own = layer_of(name)
        if own is None:
            yield f"layer: {name} stands in no layer; give it one in tests/layer_rules.py"
            continue
        for target, line in targets.items():
            other = layer_of(target)
            if other is not None and other > own:
                yield f"direction: {name}:{line} (L{own}) imports {target or 'edgemem'} (L{other})"


def _cycles(edges: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield "cycle: " + " -> ".join([*path[path.index(name) :], name])
        elif name in edges and name not in done:
            for target in sorted(edges[name]):
                yield from visit(target, (*path, name))
            done.add(name)

    for name in sorted(edges):
        yield from visit(name, ())


def _outside(module: str, package: str) -> str | None:
    """The outside library or guarded standard module that is imported, if any."""
    top = module.split(".")[0]
    if top == package or top == "__future__" or (top in sys.stdlib_module_names and top not in HOMES):
        return None
    return top


def _network_name(module: str) -> str | None:
    """The network module that `import a.b` or `from a import b` reaches, if any."""
    candidates = (module, module.rpartition(".")[0], module.split(".")[0])
    if candidates[0].startswith("urllib.parse"):
        return None
    return next((candidate for candidate in candidates if candidate in NETWORK), None)


def _homes(module: Module, package: str, homes: Mapping[str, tuple[str, ...]] = HOMES) -> Iterator[str]:
    for found in module.imports:
        network = _network_name(found.module)
        if network is not None:
            if not _matches(module.name, NETWORK_HOMES):
                yield f"network: {module.name}:{found.line} imports {network}"
            continue
        library = _outside(found.module, package)
        if library is not None and not _matches(module.name, homes.get(library, ())):
            home = " or ".join(homes.get(library, ())) or "none yet; give it one in tests/layer_rules.py"
            yield f"home: {module.name}:{found.line} imports {library} (its home: {home})"


def _parts(edges: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for name, targets in edges.items():
        for target, line in targets.items():
            if target.split(".")[0] in PARTS and not _matches(name, MOUNTING_HOMES):
                yield f"parts: {name}:{line} imports {target} (only the command line mounts it)"


def broken_rules(modules: Mapping[str, Module], package: str = "edgemem") -> list[str]:
    """Every broken rule of the runtime, as `rule: module:line what`, sorted; empty when all is well."""
    edges = _edges(modules, package)
    found = [*_direction(edges), *_cycles(_edges(modules, package, that_run=True)), *_parts(edges)]
    for module in modules.values():
        found.extend(_homes(module, package))
        if not _matches(module.name, PRINTING_HOMES):
            found.extend(f"print: {module.name}:{line} prints" for line in module.prints)
    return sorted(set(found))


def parts_that_meet(part: str, modules: Mapping[str, Module], package: str = "edgemem") -> list[str]:
    """Where the part (`bench` or `export`) imports the other one: the two meet in files only."""
    others = tuple(f"{package}.{other}" for other in PARTS if other != part)
    return [
        f"parts: {part}.{module.name}:{found.line} imports {found.module}"
        for module in modules.values()
        for found in module.imports
        if f"{found.module}.".startswith(tuple(f"{other}." for other in others))
    ]


def broken_rules_of_a_part(part: str, modules: Mapping[str, Module], package: str = "edgemem") -> list[str]:
    """Every broken rule of a part that has its homes above: outside libraries, network, and that only its command
    line prints or uses the runtime's command line."""
    found: list[str] = []
    for module in modules.values():
        found.extend(f"{part}: {broken}" for broken in _homes(module, package, PART_HOMES[part]))
        if not _matches(module.name, PRINTING_HOMES):
            found.extend(f"{part}: print: {module.name}:{line} prints" for line in module.prints)
            found.extend(
                f"{part}: direction: {module.name}:{imported.line} imports {imported.module}"
                for imported in module.imports
                if imported.module.startswith(f"{package}.cli")
            )
    return sorted(set(found))
