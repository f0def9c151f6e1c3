"""A process that renders chat templates and nothing else: templates come from strangers' model files.

Started by `template.py` with `python -I`, it reads one JSON request per line on standard input and answers with
one JSON line. Jinja's immutable sandbox keeps templates from Python's internals; the process's own memory limit
and the parent's time limit bound the rest.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 768 * 1024 * 1024
OUTPUT_CHARS = 8 * 1024 * 1024


class Refused(TemplateError):
    """Raised by a template through `raise_exception`."""


def limit_memory() -> None:
    """A template must not take the machine's memory (POSIX; elsewhere the time limit has to do)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def refuse(message: str) -> None:
    raise Refused(message)


def to_json(value: object, indent: int | None = None, ensure_ascii: bool = False) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)


def environment() -> ImmutableSandboxedEnvironment:
    """The environment model templates are written for (trimmed blocks, loop controls, a few functions)."""
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.filters["tojson"] = to_json
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return env


def render(env: ImmutableSandboxedEnvironment, request: dict[str, object]) -> str:
    """Render one request, stopping as soon as the output is larger than any prompt can be."""
    template = env.from_string(str(request["template"]))
    variables = request["variables"]
    assert isinstance(variables, dict)
    parts: list[str] = []
    size = 0
    for part in template.generate(**variables):
        parts.append(part)
        size += len(part)
        if size > OUTPUT_CHARS:
            raise Refused(f"the template writes more than {OUTPUT_CHARS} characters")
    return "".join(parts)


def answered(env: ImmutableSandboxedEnvironment, line: bytes) -> dict[str, str]:
    """The answer to one request: `text`, or `error` where the template refuses, fails or asks for too much."""
    try:
        return {"text": render(env, json.loads(line))}
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:2000]}
    except (MemoryError, RecursionError) as error:
        return {"error": f"{type(error).__name__}: the template asks for too much"}


def main() -> None:
    limit_memory()
    env = environment()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(answered(env, line)).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
