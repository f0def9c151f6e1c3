"""Relative dates become absolute: a memory is read months after "next Tuesday" was said. Pure; four languages.

Only phrases that leave no doubt are touched; everything else stays as it was written. Day and month without a year
get the year they must mean, seen from the day they were said.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_DAYS = (
    ("monday", "montag", "lunes", "lundi"),
    ("tuesday", "dienstag", "martes", "mardi"),
    ("wednesday", "mittwoch", "miércoles", "mercredi"),
    ("thursday", "donnerstag", "jueves", "jeudi"),
    ("friday", "freitag", "viernes", "vendredi"),
    ("saturday", "samstag", "sábado", "samedi"),
    ("sunday", "sonntag", "domingo", "dimanche"),
)
_MONTHS = (
    ("january", "januar", "enero", "janvier"),
    ("february", "februar", "febrero", "février"),
    ("march", "märz", "marzo", "mars"),
    ("april", "abril", "avril"),
    ("may", "mai", "mayo"),
    ("june", "juni", "junio", "juin"),
    ("july", "juli", "julio", "juillet"),
    ("august", "agosto", "août"),
    ("september", "septiembre", "septembre"),
    ("october", "oktober", "octubre", "octobre"),
    ("november", "noviembre", "novembre"),
    ("december", "dezember", "diciembre", "décembre"),
)
_DAY_NUMBER = {name: number for number, names in enumerate(_DAYS) for name in names}
_MONTH_NUMBER = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_WEEKDAY = "|".join(_DAY_NUMBER)
_MONTH = "|".join(_MONTH_NUMBER)
_NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_COUNT = rf"\d{{1,3}}|{'|'.join(_NUMBERS)}"
_OFFSETS = {  # not the French "hier": in German it means "here"
    **dict.fromkeys(("today", "tonight", "heute", "hoy", "aujourd'hui", "aujourd’hui"), 0),
    **dict.fromkeys(("tomorrow", "demain"), 1),
    **dict.fromkeys(("the day after tomorrow", "übermorgen", "pasado mañana", "après-demain"), 2),
    **dict.fromkeys(("yesterday", "gestern", "ayer"), -1),
    **dict.fromkeys(("vorgestern", "anteayer", "avant-hier"), -2),
}
_PHRASE = re.compile(
    rf"(?<![\w-])(?:(?:on )?(?P<which>next|this|coming|last) (?P<weekday>{_WEEKDAY})"
    rf"|(?P<word>{'|'.join(sorted(_OFFSETS, key=len, reverse=True))})"
    rf"|(?P<span>next|last|this) (?P<unit>week|month|year)"
    rf"|in (?P<count>{_COUNT}) (?P<ahead>day|week|month|year)s?"
    rf"|(?P<ago>{_COUNT}) (?P<back>day|week|month|year)s? ago)(?![\w-])",
    re.IGNORECASE,
)
_STEP = {"next": 1, "last": -1, "this": 0}
_CALENDAR = re.compile(
    rf"(?<![\w-])(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.|er)? (?:of |de )?(?P<month>{_MONTH})"
    rf"|(?P<first>{_MONTH}) (?P<th>\d{{1,2}})(?:st|nd|rd|th)?"
    r"|(?P<within>\b(?:in|im|en|since|seit|desde|depuis|until|till|bis|hasta|jusqu['’]en|from|ab)"
    rf" (?P<alone>{_MONTH})))"
    rf"(?! ?,? ?(?:de )?(?:19|20)\d\d)(?![\w-])",
    re.IGNORECASE,
)
_SINCE = re.compile(r"(?<!\w)(?:since|seit|desde|depuis)(?!\w)", re.IGNORECASE)
_PAST = re.compile(
    r"(?<!\w)(?:was|were|had|went|got|did|came|met|left|became|began|bought|sold|took|gave|lost|won|made|broke|flew"
    r"|grew|saw|said|told|wrote|found|\w{2,}ed|ago"
    r"|war\w*|wurde\w*|hatte\w*|ge\w{2,}t|ist ge\w+|kam|ging"
    r"|fui|fue|era|estuve|hemos|h[ae] \w+[aiíd]o|(?!(?:bébé|café|clé|côté|lycé|marché|santé|thé|été)(?!\w))\w+[éó]"
    r"|étai\w+|ai \w+[éiu]s?|suis \w+[éiu]e?s?|avai\w+)(?!\w)",
    re.IGNORECASE,
)
"""Words that put a sentence in the past, roughly."""
FUTURE_MONTHS = 9
"""A month without a year lies at most so far ahead; any other one has passed."""


def with_absolute_dates(text: str, said_on: date) -> str:
    """`text` with relative dates replaced, and years added, seen from the day it was said."""
    text = _PHRASE.sub(lambda found: _absolute(found, said_on), text)
    past = _PAST.search(text) is not None
    return _CALENDAR.sub(lambda found: _with_year(found, said_on, past=past), text)


def last_day_in(text: str) -> date | None:
    """The latest day that `text` names in full (2026-10-11, 11 October 2026, in October 2026), None without one."""
    days = [_day(int(y), int(m), int(d or 28)) for y, m, d in _ISO.findall(text)]
    days += [_day(int(y), _MONTH_NUMBER[m.casefold()], int(d or 28)) for d, m, y in _WRITTEN.findall(text)]
    return max((day for day in days if day is not None), default=None)


_ISO = re.compile(r"(?<!\d)((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?(?!\d)")
_WRITTEN = re.compile(rf"(?:(\d{{1,2}})\.? (?:de )?)?({_MONTH}) (?:de )?((?:19|20)\d\d)", re.IGNORECASE)


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _with_year(found: re.Match[str], today: date, *, past: bool) -> str:
    part = found.groupdict()
    month = _MONTH_NUMBER[(part["month"] or part["first"] or part["alone"]).casefold()]
    if part["alone"] and part["alone"].islower() and part["alone"].casefold() in ("may", "march", "mars"):
        return found.group()  # "in may", "until march": too near to the verb
    ahead = (month - today.month) % 12
    since = _SINCE.search(found.group()) is not None
    if past and not since and 0 < ahead <= FUTURE_MONTHS:
        return found.group()  # "I've signed up for December" or "I moved in December": this does not tell
    before = since or past or ahead > FUTURE_MONTHS
    year = today.year + (month < today.month and not before) - (month > today.month and before)
    return f"{found.group()} {year}"


def _absolute(found: re.Match[str], today: date) -> str:
    part = {key: value.lower() for key, value in found.groupdict().items() if value}
    if "weekday" in part:
        return f"on {_weekday(part['which'], _DAY_NUMBER[part['weekday']], today).isoformat()}"
    if "word" in part:
        day = (today + timedelta(days=_OFFSETS[part["word"]])).isoformat()
        return f"on {day}" if part["word"] in _ENGLISH else day
    if "span" in part:
        return _span(part["unit"], _STEP[part["span"]], today)
    count = part.get("count") or part["ago"]
    steps = _NUMBERS.get(count) or int(count)
    return _span(part.get("ahead") or part["back"], steps if "ahead" in part else -steps, today)


_ENGLISH = ("today", "tonight", "tomorrow", "the day after tomorrow", "yesterday")


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
