"""Chat templates come from strangers: they are rendered in a sandbox, in bounded time and output."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from edgemem.engines.template import ChatTemplate
from edgemem.errors import ModelUnsupported
from edgemem.values import Message

PLAIN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def rendered() -> Iterator[object]:
    opened: list[ChatTemplate] = []

    def render(source: str, limit_s: float = 2.0) -> str:
        template = ChatTemplate(source, time_limit_s=limit_s)
        opened.append(template)
        return template.render([Message("user", "hi")])

    yield render
    for template in opened:
        template.close()


def test_a_template_renders(rendered) -> None:  # type: ignore[no-untyped-def]
    assert rendered(PLAIN) == "<|user|>hi\n<|assistant|>"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ raise_exception('no') }}",
        "{% if %}",
        "{% for a in range(9999999) %}{% endfor %}",
        "{{ 'a' * 9999999999 }}",
        "{% for a in range(99999) %}{{ 'a' * 200 }}{% endfor %}",
    ],
)
def test_a_hostile_template_is_an_error(rendered, source: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelUnsupported) as caught:
        rendered(source)
    assert caught.value.hint


def test_a_template_that_never_ends_is_stopped() -> None:
    template = ChatTemplate(PLAIN, time_limit_s=1.0)
    template.render([Message("user", "hi")])  # the worker has started
    template.source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    started = time.monotonic()
    with pytest.raises(ModelUnsupported, match="did not finish"):
        template.render([Message("user", "hi")])
    assert time.monotonic() - started < 10
    template.source = PLAIN
    assert template.render([Message("user", "hi")]).startswith("<|user|>hi")
    template.close()
