"""Streams of bytes become text: characters whole, stop texts never shown, thinking left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemem.engines.text import TextStream
from edgemem.prompting.think import ThinkFilter, without_thinking


@given(st.text(max_size=60), st.integers(1, 4))
def test_any_cut_of_the_bytes_gives_the_same_text(text: str, size: int) -> None:
    raw = text.encode("utf-8", "replace")
    stream = TextStream()
    shown = "".join(stream.push(raw[at : at + size]) for at in range(0, len(raw), size)) + stream.finish()
    assert shown == raw.decode() == stream.text


@given(st.lists(st.sampled_from(["a", "b", "ab", "ba", "\n"]), max_size=20), st.sampled_from(["ab", "bb", "aba"]))
def test_a_stop_text_ends_the_stream_wherever_it_is_cut(parts: list[str], stop: str) -> None:
    stream = TextStream([stop])
    shown = ""
    for part in parts:
        shown += stream.push(part.encode())
        if stream.stopped:
            break
    shown += stream.finish()
    whole = "".join(parts)
    assert shown == (whole.partition(stop)[0])
    assert stream.stopped is (stop in whole)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>hm</think>\n\nYes", "Yes"),
        ("<think>never closed", ""),
        ("no thinking", "no thinking"),
        ("a <think>x</think> b", "a  b"),
        ("a < b and <thin air", "a < b and <thin air"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_think_parts_are_left_out(text: str, answer: str, size: int) -> None:
    think = ThinkFilter()
    shown = "".join(think.push(text[at : at + size]) for at in range(0, len(text), size)) + think.finish()
    assert shown == answer
    assert without_thinking(text) == answer.strip()
