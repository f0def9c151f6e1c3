"""Relative dates become absolute: a memory is read months after "next Tuesday" was said. Pure, English phrases.

Only phrases that leave no doubt are touched; everything else stays as it was written.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = "|".join(_DAYS)
_NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_COUNT = rf"\d{{1,3}}|{'|'.join(_NUMBERS)}"
_PHRASE = re.compile(
    rf"\b(?:(?:on )?(?P<which>next|this|coming|last) (?P<weekday>{_WEEKDAY})"
    rf"|(?P<word>the day after tomorrow|today|tonight|tomorrow|yesterday)"
    rf"|(?P<span>next|last|this) (?P<unit>week|month|year)"
    rf"|in (?P<count>{_COUNT}) (?P<ahead>day|week|month|year)s?"
    rf"|(?P<ago>{_COUNT}) (?P<back>day|week|month|year)s? ago)\b",
    re.IGNORECASE,
)
_OFFSETS = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "the day after tomorrow": 2}
_STEP = {"next": 1, "last": -1, "this": 0}


def with_absolute_dates(text: str, said_on: date) -> str:
    """`text` with relative dates replaced, seen from the day it was said."""
    return _PHRASE.sub(lambda found: _absolute(found, said_on), text)


def _absolute(found: re.Match[str], today: date) -> str:
    part = {key: value.lower() for key, value in found.groupdict().items() if value}
    if "weekday" in part:
        return f"on {_weekday(part['which'], _DAYS.index(part['weekday']), today).isoformat()}"
    if "word" in part:
        return f"on {(today + timedelta(days=_OFFSETS[part['word']])).isoformat()}"
    if "span" in part:
        return _span(part["unit"], _STEP[part["span"]], today)
    count = part.get("count") or part["ago"]
    steps = _NUMBERS.get(count) or int(count)
    return _span(part.get("ahead") or part["back"], steps if "ahead" in part else -steps, today)


def _weekday(which: str, wanted: int, today: date) -> date:
    """`next Tuesday` on a Monday is tomorrow's week-mate in common use: the first one after today."""
    if which == "last":
        return today - timedelta(days=(today.weekday() - wanted - 1) % 7 + 1)
    return today + timedelta(days=(wanted - today.weekday() - 1) % 7 + 1)


def _span(unit: str, steps: int, today: date) -> str:
    if unit == "day":
        return f"on {(today + timedelta(days=steps)).isoformat()}"
    if unit == "week":
        monday = today - timedelta(days=today.weekday()) + timedelta(weeks=steps)
        return f"in the week of {monday.isoformat()}"
    if unit == "month":
        months = today.year * 12 + today.month - 1 + steps
        return f"in {months // 12}-{months % 12 + 1:02d}"
    return f"in {today.year + steps}"
