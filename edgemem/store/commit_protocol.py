"""How memory.md and the journal change together, so that a process may die at any moment.

A change is staged beside the file, committed as a *prepared* revision in SQLite (the point of no return), put in
the file's place, and marked done. Whoever comes next reads from the file's digest how far it got, and finishes it.
A file that is neither the state before nor the one after was edited by hand: that is recorded first, and wins.

Everything here happens under the user's lock, which the caller holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from edgemem.errors import EdgememError, StoreWriteFailed
from edgemem.memory.document import (
    Document,
    clean_text,
    parse,
    render,
    updated_stamp,
    with_updated_stamp,
)
from edgemem.memory.lines import Memory, apply_all, difference, digest_of, match_lines, memory_of
from edgemem.store.files import MemoryFile
from edgemem.store.journal import Journal
from edgemem.values import Line, Operation, Rejected, Revision

BY_HAND = ("edit", "command", "undo", "review")
_STAMP_STEP = timedelta(milliseconds=1)


@dataclass(frozen=True)
class CommitProtocol:
    """The steps, for one user. `step` is called with the name of each durable step that was just taken, `taken_away`
    before a person's change takes a line's text out of the memory."""

    user: str
    file: MemoryFile
    journal: Journal
    now: Callable[[], datetime]
    step: Callable[[str], None]
    taken_away: Callable[[], None]

    def settle(self) -> Memory:
        """Finish what was begun, record a hand edit as a revision, and return the memory as it is now."""
        self.complete()
        text = self.file.read()
        with self.journal.change():
            view = self.journal.memory_view()
            memory = memory_of(
                document := parse(text), match_lines(document.facts, view.lines, view.next_line_id, view.gone)
            )
            if memory.digest != view.digest:
                self._record_edit(view.digest, view.lines, memory)
        return memory

    def write(
        self,
        draft: Revision,
        document: Document,
        folded: Iterable[int] = (),
        *,
        stamp: bool = True,
        also: Callable[[Journal, Revision], None] = lambda journal, revision: None,
    ) -> Revision:
        """Carry out `draft`, whose result is `document`, from the memory with `draft.base_digest` (just settled).
        `also` writes more to the journal, in the transaction that prepares the revision.

        Nothing changed when it raises StoreBusy (a turn is folded already) or StoreWriteFailed (the disk refuses).
        """
        folded = tuple(folded)
        if digest_of(render(document)) == draft.base_digest:
            with self.journal.change():
                revision = self.journal.prepare(draft, None, folded)
                also(self.journal, revision)
                return self.journal.finish(revision)
        self._note_taken_away(draft)
        text = render(self._stamped(document) if stamp else document)
        draft = replace(draft, result_digest=digest_of(text))
        self.file.stage(text)
        self.step("staged")
        try:
            with self.journal.change():
                revision = self.journal.prepare(draft, text, folded)
                also(self.journal, revision)
        except EdgememError:
            self.file.unstage()
            raise
        self.step("prepared")
        return self._complete_or_cancel(revision)

    def _complete_or_cancel(self, revision: Revision) -> Revision:
        try:
            return self.complete() or revision
        except StoreWriteFailed:
            if digest_of(self.file.read()) == revision.result_digest:
                return revision  # it happened; the next change marks it done
            if revision.cause == "forget":
                raise  # the words are gone from the journal; the next change finishes it
            with self.journal.change():
                self.journal.cancel(revision.id)
            self.file.unstage()
            raise

    def complete(self) -> Revision | None:
        """Finish the prepared revision, if there is one. Raises StoreWriteFailed, MemoryUnreadable."""
        finished: Revision | None = None
        while True:
            with self.journal.view():
                prepared = self.journal.prepared()
                text = self.journal.text_of(prepared.id) if prepared else ""
            if prepared is None:
                return finished
            found = self.file.read()
            if digest_of(found) == prepared.result_digest or _edited_from(found, text):
                with self.journal.change():
                    finished = self.journal.finish(prepared)
                self.step("done")
            elif digest_of(found) == prepared.base_digest:
                self.file.stage(text)
                if self.file.replace(prepared.base_digest):
                    self.step("replaced")
            else:
                finished = self._rebase(prepared, found)

    def _rebase(self, prepared: Revision, found: str) -> Revision | None:
        """The file was edited by hand before the change reached it: record it, then prepare the change on it.

        Returns the revision if nothing of it is left to be written to the file.
        """
        with self.journal.change():
            view = self.journal.memory_view()
            given = max((operation.line_id or 0 for operation in prepared.operations), default=0)
            next_id = max(view.next_line_id, given + 1)
            document = parse(found)
            edited = memory_of(document, match_lines(document.facts, view.lines, next_id, view.gone))
            self._record_edit(view.digest, view.lines, edited)
            wanted, late = without_conflicts(prepared.operations, view.lines, edited)
            next_id = self.journal.memory_view().next_line_id
            applied = apply_all(edited.document, edited.lines, wanted, next_id)
            rejected = (*prepared.rejected, *late, *nothing_to_do(applied.skipped))
            draft = replace(prepared, operations=applied.done, base_digest=edited.digest, rejected=rejected)
            text = render(self._stamped(applied.document)) if applied.done else None
            draft = replace(draft, result_digest=edited.digest if text is None else digest_of(text))
            successor = self.journal.prepare(draft, text, ())
            self.journal.cancel(prepared.id, successor.id)
            return None if text is not None else self.journal.finish(successor)

    def _record_edit(self, base_digest: str, before: Sequence[Line], memory: Memory) -> None:
        draft = Revision(
            0, self.now(), "edit", "prepared", difference(before, memory.lines), base_digest, memory.digest
        )
        self._note_taken_away(draft)
        self.journal.finish(self.journal.prepare(draft, memory.text, ()))

    def _note_taken_away(self, draft: Revision) -> None:
        """An update by the model is no reason: what was computed is gone on with right after it, and replaced."""
        if draft.cause in BY_HAND and any(operation.kind in ("update", "delete") for operation in draft.operations):
            self.taken_away()

    def _stamped(self, document: Document) -> Document:
        """With a time later than its old stamp: no two states of the file share one (see `_edited_from`)."""
        when, old = self.now(), _stamp_time(document)
        if old is not None and when < old + _STAMP_STEP:
            when = old + _STAMP_STEP
        return with_updated_stamp(document, self.user, when)


def _stamp_time(document: Document) -> datetime | None:
    try:
        time = datetime.fromisoformat(updated_stamp(document))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _edited_from(found: str, result: str) -> bool:
    """Whether `found` is a hand edit of `result`: a person who edits facts leaves the stamp alone."""
    stamp = updated_stamp(parse(result))
    return stamp != "" and updated_stamp(parse(found)) == stamp


def without_conflicts(
    operations: Iterable[Operation], base: Sequence[Line], current: Memory
) -> tuple[tuple[Operation, ...], tuple[Rejected, ...]]:
    """What of `operations`, meant for `base`, still holds on `current`: a line that a person edited or pinned
    meanwhile stays as it is, and nothing is added a second time."""
    before = {line.id: line for line in base}
    now = {line.id: line for line in current.lines}
    texts = {clean_text(line.text).casefold() for line in current.lines if line.id not in before}
    kept: list[Operation] = []
    late: list[Rejected] = []
    for operation in operations:
        old, new = before.get(operation.line_id or 0), now.get(operation.line_id or 0)
        if old and new and (_by_hand(old, new) or (new.protected and not old.protected)):
            late.append(Rejected(operation, "edited_meanwhile", f"now: {new.text}"))
        elif operation.kind == "add" and clean_text(operation.text).casefold() in texts:
            late.append(Rejected(operation, "added_meanwhile"))
        else:
            kept.append(operation)
    return tuple(kept), tuple(late)


def _by_hand(old: Line, new: Line) -> bool:
    return new.origin == "edited" and (old.section, old.text) != (new.section, new.text)


def nothing_to_do(skipped: Iterable[Operation]) -> tuple[Rejected, ...]:
    """Operations that found nothing to act on, as the journal records them."""
    return tuple(Rejected(operation, "nothing_to_do", "line gone, text empty, or no change") for operation in skipped)
