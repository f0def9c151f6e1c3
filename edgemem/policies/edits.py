"""The `edits` policy: the user's own words, chosen by the model; nothing is written that was not said.

Sentence by sentence, because small models lose facts and start to loop when they are asked about a whole chat:

1. the user's messages become sentences (pure: `memory.sentences`), which carry what their wording tells;
2. keep? One look at the first token the model would answer with (a note, or NONE), no text: log-odds, added to those
   of the wording. All sentences are one batch.
   Of a chat at most what is free of the budget, or a quarter of it.
3. note: the sentence as it was said. Where a model card asks for it (threshold `notes` above 0), the model writes a
   short note of each, as one batch of branches; one that brings in a word, drops half of the sentence or turns it
   round is replaced by the sentence. Small models gain nothing by it (docs/log.md, 2026-11-25).
4. request? (`requests`) One more look at each of them: what only asks the assistant for something goes again.
5. changed? (`changes`) Lines that share words or a topic with a sentence are shown beside it: one look each. A line
   that no longer holds is updated by the note, or deleted; so is what the user asks to forget.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgemem.engines.base import Branch, Session
from edgemem.memory.check import MAX_FACT_CHARS
from edgemem.memory.dates import last_day_in, with_absolute_dates
from edgemem.memory.edits import parse_notes
from edgemem.memory.lines import prompt_view
from edgemem.memory.pattern import NotesConstraint
from edgemem.memory.sentences import Sentence, sentences_of, tells_whose, with_subject
from edgemem.memory.words import all_stems, content_words, names_in, negated
from edgemem.policies.base import Proposal, UpdateTask, update_cancelled
from edgemem.policies.changes import CHANGED_LOG_ODDS, OUTDATED_GAIN, Change, changes
from edgemem.policies.examples import looks, margins, opened
from edgemem.policies.requests import REQUEST_LOG_ODDS, without_requests
from edgemem.prompting.think import without_thinking
from edgemem.values import SECTIONS, Operation, Origin, Stats

STEPS = frozenset({"wording", "model", "requests", "changes", "outdated"})
"""What can be left out, to measure what it buys: the wording's say, the model's say, the look for requests, all
changes, those without words in common."""

KEEP_LOG_ODDS = -1.3
"""Sentences above this are kept. A card's threshold `keep` replaces it."""
TRUST = 0.4
"""Weight of the model's log-odds beside the wording's. A card's threshold `trust` replaces it."""
WITHOUT_WORDING = -0.6
"""Log-odds of a sentence that is not looked at: a third of them are worth keeping."""

MOST_PER_MESSAGE = 5  # a long message is a story: its clearest sentences are enough
ROOM_SHARE = 0.25
"""Of a full memory that one update may write anew: else two long chats (900 tokens worth keeping each, MemoryCtrl)
push out all that was there."""
NOTE_TOKENS = 72
KEPT_SHARE = 0.5  # of a sentence's content words: a note with fewer has lost something


@dataclass(frozen=True)
class Note:
    """What is to be remembered of a sentence: at least one text, with the section it belongs to."""

    sentence: Sentence
    section: str
    text: str


class EditsPolicy:
    """See the module. `thresholds` are a model card's, `without` names steps to leave out."""

    name = "edits"

    def __init__(self, thresholds: Mapping[str, float] | None = None, without: Iterable[str] = ()) -> None:
        self._thresholds = dict(thresholds or {})
        self._without = frozenset(without)

    def propose(self, task: UpdateTask) -> Proposal:
        sentences = sentences_of(task.turns)
        if not sentences:
            return Proposal((), "", Stats())
        notes, reply, stats = self._notes(task, sentences)
        if "requests" not in self._without:
            notes, cost = self._without_requests(task, notes)
            stats = stats.plus(cost)
        notes = [note for note in _without_repeats(notes) if tells_whose(note.text)]
        found: list[Change] = []
        if "changes" not in self._without:
            changed = self._thresholds.get("changed", CHANGED_LOG_ODDS)
            gain = None if "outdated" in self._without else self._thresholds.get("outdated", OUTDATED_GAIN)
            found, cost = changes(task, sentences, changed, gain)
            stats = stats.plus(cost)
        return Proposal(tuple(_operations(notes, found)), reply, stats)

    def _notes(self, task: UpdateTask, sentences: Sequence[Sentence]) -> tuple[list[Note], str, Stats]:
        with opened(task, task.prompts.edits()) as (session, fed):
            kept, looked = self._kept(task, session, sentences)
            stats = fed.plus(looked)
            if self._thresholds.get("notes", 0.0) <= 0:
                quotes, chose = _quotes(task, session, [one for one in kept if not _only_a_wish(one)])
                return quotes, "", stats.plus(chose)
            notes, reply, wrote = _written(task, session, kept)
            return notes, reply, stats.plus(wrote)

    def _without_requests(self, task: UpdateTask, notes: Sequence[Note]) -> tuple[list[Note], Stats]:
        least = self._thresholds.get("request", REQUEST_LOG_ODDS)
        sentences = [note.sentence for note in notes]
        stays, stats = without_requests(task, sentences, [_shown(one) for one in sentences], least)
        return [note for note, stay in zip(notes, stays, strict=True) if stay], stats

    def _kept(self, task: UpdateTask, session: Session, sentences: Sequence[Sentence]) -> tuple[list[Sentence], Stats]:
        """The sentences worth a note, by wording and model together."""
        priors = [WITHOUT_WORDING if "wording" in self._without else one.prior() for one in sentences]
        open_ones = [(one, prior) for one, prior in zip(sentences, priors, strict=True) if prior is not None]
        asked = [task.prompts.edits_message(_shown(one)) for one, _ in open_ones]
        if "model" in self._without:
            margin, stats = [0.0] * len(asked), Stats()
        else:
            margin, stats = margins(task, session, asked, ("ADD", "NONE"))
        trust = self._thresholds.get("trust", TRUST)
        keep = self._thresholds.get("keep", KEEP_LOG_ODDS)
        odds = {id(one): prior + trust * look for (one, prior), look in zip(open_ones, margin, strict=True)}
        kept = [one for one, _ in open_ones if odds[id(one)] > keep]
        return _within_room(task, _best_of_each_message(kept, odds), odds), stats


def _best_of_each_message(kept: Sequence[Sentence], odds: Mapping[int, float]) -> list[Sentence]:
    best: set[int] = set()
    for turn_id in {one.turn.id for one in kept}:
        of_turn = sorted((one for one in kept if one.turn.id == turn_id), key=lambda one: -odds[id(one)])
        best |= {id(one) for one in of_turn[:MOST_PER_MESSAGE]}
    return [one for one in kept if id(one) in best]


def _within_room(task: UpdateTask, kept: Sequence[Sentence], odds: Mapping[int, float]) -> list[Sentence]:
    """What the user asked to remember and the likeliest sentences, as far as they fit what is free of the budget, or a
    share of it where less is free."""
    held = task.engine.count(prompt_view(task.memory.lines))
    room = max(task.budget_tokens - held, int(ROOM_SHARE * task.budget_tokens))
    fits: set[int] = set()
    for one in sorted(kept, key=lambda one: (not one.keep, -odds[id(one)])):
        room -= task.engine.count(f"- {one.text}\n")
        if room < 0:
            break
        fits.add(id(one))
    return [one for one in kept if id(one) in fits]


def _shown(sentence: Sentence) -> str:
    return with_absolute_dates(sentence.text, sentence.turn.time.astimezone().date())


def _written(task: UpdateTask, session: Session, kept: Sequence[Sentence]) -> tuple[list[Note], str, Stats]:
    engine = task.engine
    suffixes = [tuple(engine.render_next(task.prompts.edits_message(_shown(one)))) for one in kept]
    branches = [Branch(session, suffix, NOTE_TOKENS, task.sampling, (), NotesConstraint()) for suffix in suffixes]
    notes: list[Note] = []
    stats = Stats()
    replies = engine.generate_many(branches, task.cancelled)
    for sentence, reply in zip(kept, replies, strict=True):
        if reply.stats.stop_reason == "cancelled":
            raise update_cancelled()
        notes += _accepted(sentence, parse_notes(without_thinking(reply.text)), reply.stats.stop_reason)
        stats = stats.beside(reply.stats)
    return notes, "\n".join(reply.text for reply in replies), stats


def _accepted(sentence: Sentence, written: Sequence[Operation], stop_reason: str) -> list[Note]:
    """The model's notes where they hold what the sentence says, else the sentence."""
    said = _shown(sentence)
    section = _section(sentence, said) or (written[0].section if written else "People" if sentence.kin else "About")
    texts = [one.text for one in written]
    together = " ".join(texts)
    a_part_will_do = sentence.orders or sentence.asks
    lost = not a_part_will_do and _loses(together, said)
    if not texts or lost or stop_reason == "length" or not _faithful(together, said) or "?" in together:
        return [] if _only_a_wish(sentence) else [_quote(sentence, section)]
    return [Note(sentence, section or one.section, _told(one.text, sentence)) for one in written]


def _quotes(task: UpdateTask, session: Session, kept: Sequence[Sentence]) -> tuple[list[Note], Stats]:
    """The sentences as they were said; the section, where the wording leaves a doubt, is the likeliest one."""
    quotes = [_quote(one) for one in kept]
    open_ones = [at for at, one in enumerate(quotes) if not one.section]
    asked = [task.prompts.edits_message(_shown(kept[at])) for at in open_ones]
    scores, stats = looks(task, session, asked, [f" {section}" for section in SECTIONS], begun="ADD")
    for at, of_sections in zip(open_ones, scores, strict=True):
        section = SECTIONS[max(range(len(SECTIONS)), key=of_sections.__getitem__)]
        quotes[at] = replace(quotes[at], section=section)
    return quotes, stats


def _only_a_wish(sentence: Sentence) -> bool:
    """A question, or a task that does not say who the user is on the way: no line by itself, whatever else is in it."""
    return sentence.asks or (sentence.orders and not (sentence.plain or sentence.style or sentence.keep))


def _loses(note: str, said: str) -> bool:
    """Whether a note leaves out a name or number, or half of the words of meaning."""
    few = len(content_words(note)) < KEPT_SHARE * len(content_words(said))
    return few or not names_in(said) <= all_stems(note)


def _faithful(note: str, said: str) -> bool:
    """No word of meaning, name or number that was not said, and no negation more or less."""
    stems = all_stems(said)
    return content_words(note) <= stems and names_in(note) <= stems and negated(note) == negated(said)


def _section(sentence: Sentence, said: str) -> str:
    """The section where the wording leaves no doubt: a wish how to be answered, a day to come. Else ""."""
    if sentence.style:
        return "How to talk to me"
    day = last_day_in(said)
    return "Plans" if day is not None and day > sentence.turn.time.astimezone().date() else ""


def _quote(sentence: Sentence, section: str = "") -> Note:
    said = _shown(sentence)
    return Note(sentence, section or _section(sentence, said), _told(said, sentence))


def _told(text: str, sentence: Sentence) -> str:
    """The note, after the words that say who it is about where both can be one line and nobody asked to forget them."""
    note = with_subject(text, sentence)
    together = len(note) <= MAX_FACT_CHARS and not sentence.near_forget
    return note if together else with_subject(text, replace(sentence, before=""))


def _without_repeats(notes: Sequence[Note]) -> list[Note]:
    """Notes but those that begin another note (see `with_subject`) or say it again."""
    return [
        note
        for place, note in enumerate(notes)
        if not any(
            other.text.startswith(note.text) and (other.text != note.text or other_place < place)
            for other_place, other in enumerate(notes)
            if other is not note
        )
    ]


def _operations(notes: Sequence[Note], found: Sequence[Change]) -> list[Operation]:
    """A note whose sentence overtakes a line updates that line; other overtaken lines go; other notes are added."""
    operations: list[Operation] = []
    told = {id(note.sentence): note for note in reversed(notes)}
    for change in found:
        line, source = change.line, (change.sentence.turn.id,)
        note = None if change.sentence.forgets else told.pop(id(change.sentence), None)
        old = {"line_id": line.id, "old_text": line.text, "old_section": line.section, "sources": source}
        if note is None and change.only_replaces:
            continue
        if note is None:
            operations.append(Operation("delete", **old))  # type: ignore[arg-type]
        else:
            operations.append(Operation("update", text=note.text, origin=_origin(note), **old))  # type: ignore[arg-type]
            notes = [other for other in notes if other is not note]
    for note in notes:
        source = (note.sentence.turn.id,)
        new = Operation("add", section=note.section, text=note.text, sources=source, origin=_origin(note))
        operations.append(new)
    return operations


def _origin(note: Note) -> Origin:
    return "asked" if note.sentence.keep else "stated"
