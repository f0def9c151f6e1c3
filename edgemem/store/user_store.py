"""One user's memory and journal on disk: the store that the rest of edgemem uses.

Ties file, journal and locks together. Several processes may use one user at once; each change happens under the
user's lock. Does not know models, prompts or budgets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edgemem.engines.base import SealedFile
from edgemem.errors import InvalidInput, MemoryLocked, MemoryUnreadable, StoreBusy, StoreWriteFailed
from edgemem.memory.document import Document, clean_text, parse, render, updated_stamp, without_stamp
from edgemem.memory.lines import Applied, Memory, apply_all, digest_of, inverse
from edgemem.memory.sensitivity import sensitivity_of
from edgemem.memory.support import support_of
from edgemem.store.archive import Archive, archive_source, archive_text
from edgemem.store.commit_protocol import CommitProtocol, nothing_to_do, without_conflicts
from edgemem.store.encrypting import convert
from edgemem.store.erasing import (
    begin_erasing,
    begun,
    end_erasing,
    erasure_of,
    is_export,
    remove_all,
    remove_computed,
    scrub_typed,
    searched,
)
from edgemem.store.files import make_private_folder, readable, replace_whole
from edgemem.store.folder import KV_FOLDER, UserFolder
from edgemem.store.forgetting import WORDS_MIN_CHARACTERS, Erasure
from edgemem.store.journal import Journal, raw_bytes, release_removed
from edgemem.store.masking import Masking
from edgemem.store.names import check_user_name
from edgemem.store.records import FORGOTTEN, ChatInfo, Erased, Forgotten, LineHistory, PendingChange
from edgemem.store.sealed_export import SEALED, seal_export, seal_export_again, text_in
from edgemem.store.sealing import MAGIC, Passphrase, Seal, new_vault, read_vault
from edgemem.store.tombstones import Tombstone, TombstoneKey
from edgemem.store.typed_history import FILE_NAME, read_entries
from edgemem.values import Cause, Line, Operation, Rejected, Revision, Role, Stats, Turn

ExportForm = Literal["json", "markdown", "sealed"]


def utc_now() -> datetime:
    return datetime.now(UTC)


def _no_step(name: str) -> None:
    """Nothing waits for the protocol's steps, except tests that end the process there."""


def open_store(
    data_dir: Path,
    user: str,
    *,
    read_only: bool = False,
    mask_secrets: bool = True,
    passphrase: Passphrase | None = None,
    now: Callable[[], datetime] = utc_now,
    step: Callable[[str], None] = _no_step,
) -> UserStore:
    """The store of `user` under `data_dir`; what a dead process left unfinished is finished.

    Nothing is made on disk before the first write. With `read_only` no byte ever changes (a hand edit is read but
    not recorded) and every change raises StoreWriteFailed. `mask_secrets`: private data in messages is not written
    to disk (`memory.private_data`). `passphrase` is asked for when the files are encrypted. Raises InvalidInput for the
    name, JournalUnusable, MemoryLocked.
    """
    folder = UserFolder(data_dir, check_user_name(user), read_only=read_only, now=now, step=step)
    if vault := read_vault(folder.path):
        if passphrase is None:
            raise MemoryLocked(
                f"the memory of {user} is encrypted", "give its passphrase, or the variable EDGEMEM_PASSPHRASE"
            )
        folder.use(vault.unlock(passphrase(vault)))
    store = UserStore(folder, Masking(mask_secrets))
    # What cannot be finished now (disk full, file unreadable) is tried again, and said, by the next change.
    with suppress(StoreWriteFailed, MemoryUnreadable, StoreBusy):
        store.finish_unfinished()
    return store


def kv_folders(data_dir: Path) -> list[Path]:
    """The folders of computed prompts of all users."""
    return sorted((data_dir / "users").glob(f"*/{KV_FOLDER}"))


class UserStore:
    """Memory and journal of one user; get one from `open_store`. Threads may share it. Close it when done."""

    def __init__(self, folder: UserFolder, masking: Masking) -> None:
        self._folder = folder
        self._masking = masking
        self.user = folder.user
        self.folder = folder.path
        self.kv_folder = folder.kv
        self._tombstone_key = TombstoneKey(folder.path.parent.parent / "keys" / f"{folder.user}.key")

    def close(self) -> None:
        """Give back the journal and the marks of open chats. Closing twice is fine."""
        self._folder.close()

    def __enter__(self) -> UserStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish_unfinished(self) -> None:
        """Finish what a dead process began. Raises StoreWriteFailed, MemoryUnreadable, StoreBusy."""
        if self._folder.read_only:
            return
        if (erasing := begun(self.folder)) == "everything":
            with self._folder.locks.changing():
                remove_all(self.folder, [self._tombstone_key.path])
            return
        if (vault := read_vault(self.folder)) and vault.direction:
            with self._alone():
                convert(self._folder, vault, self.seal)
        self._folder.finish_unfinished()
        if erasing:
            self._erase_rest()

    # Encryption ------------------------------------------------------------------------------------------------

    @property
    def seal(self) -> Seal:
        """What encrypts the user's files; without a key (`on` is False) they are plain."""
        return self._folder.seal

    def sealed(self, path: Path) -> Path | SealedFile:
        """A file of computed prompts, for an engine to write and read."""
        seal, role = self.seal, f"{KV_FOLDER}/{path.name}"
        if not seal.on:
            return path
        return SealedFile(path, lambda data: seal.seal(data, role), lambda data: seal.open(data, role))

    def encrypt(self, passphrase: str, *, in_keyring: bool = False) -> None:
        """Encrypt every file of the user, or change the passphrase where they are. Raises InvalidInput (too short),
        StoreBusy while anybody uses the memory, StoreWriteFailed: then the next start goes on with it."""
        if self.seal.on:
            new_vault(self.folder, passphrase, self.seal, in_keyring=in_keyring)[0].write()
            return
        vault, seal = new_vault(self.folder, passphrase, in_keyring=in_keyring)
        make_private_folder(self.folder)
        with self._alone():
            self.read()  # records a hand edit, and finishes what was begun
            vault.directed("sealing").write()
            convert(self._folder, vault.directed("sealing"), seal)

    def decrypt(self) -> None:
        """Write every file of the user in plain again. Raises as `encrypt`."""
        vault = read_vault(self.folder)
        if vault is None:
            raise InvalidInput(f"the memory of {self.user} is not encrypted", "nothing to do")
        with self._alone():
            self.read()
            vault.directed("opening").write()
            convert(self._folder, vault.directed("opening"), self.seal)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else learns, changes or has a chat open. Raises StoreBusy."""
        with self._folder.locks.learning(), self._folder.locks.changing():
            if self._folder.locks.any_chat_open():
                raise StoreBusy(f"a chat of {self.user} is open", "close it, then try again")
            yield

    def _opened(self, path: Path, form: str = "") -> bytes:
        """A file's bytes as they would be without encryption; `form` is that of an export."""
        if path.name == "journal.db" and self.seal.on:
            return "\n".join(self._folder.ask(lambda journal: list(journal.whole_text()), [])).encode()
        if path.name == FILE_NAME and self.seal.on:
            return "\n".join(read_entries(path, self.seal)).encode()
        if form.startswith(SEALED):
            return text_in(form, path.read_bytes())
        data = raw_bytes(path) if path.name.startswith("journal.db") else path.read_bytes()
        role = f"{KV_FOLDER}/{path.name}" if path.parent == self.kv_folder else path.name
        return self.seal.open(data, role) if data.startswith(MAGIC) else data

    # Memory ----------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """memory.md as it is (LF endings), empty without one. Raises MemoryUnreadable."""
        return self._folder.file.read()

    def write_by_hand(self, data: bytes, before: str) -> None:
        """Put a person's edit of the text `before` in the file's place, as an editor would. Raises StoreBusy when the
        memory changed meanwhile, MemoryUnreadable, StoreWriteFailed."""
        with self._folder.changing() as protocol:
            text = readable(data, self.folder / "memory.md")
            protocol.file.stage(text)
            if not protocol.file.replace(digest_of(before)):
                protocol.file.unstage()
                raise StoreBusy("the memory changed while it was edited", "edit it again")

    def read(self) -> Memory:
        """The memory now. A hand edit since the last revision is recorded as a revision first (cause `edit`).

        Where nothing can be written (disk full, read-only folder) the memory is read all the same. Raises
        MemoryUnreadable, JournalUnusable.
        """
        try:
            return self._folder.read()
        except StoreWriteFailed:
            return self._folder.look()

    def commit(
        self,
        operations: Iterable[Operation],
        *,
        base: Memory,
        cause: Cause,
        folded: Iterable[int] = (),
        policy: str = "",
        model_digest: str = "",
        prompt_digest: str = "",
        stats: Stats | None = None,
        rejected: Sequence[Rejected] = (),
        note: str = "",
        undoes: int | None = None,
        mentions: Iterable[tuple[int, int]] = (),
        waiting: Sequence[Operation] = (),
    ) -> Revision:
        """Change the memory by `operations`, decided on `base`, and mark the turns in `folded` as learned: both or
        neither. `mentions` are (line, turn) pairs that are kept as sources of lines, `waiting` are changes that
        become memory when the person accepts them (`review`). The revision returned has the operations that were
        carried out; others are in its `rejected`.

        If the memory moved since `base`, operations are carried over by line id; hand edits win. Raises StoreBusy
        when one of the turns is folded already, StoreWriteFailed, MemoryUnreadable: nothing changed then.
        """
        with self._folder.changing() as protocol:
            current = protocol.settle()
            wanted, late = without_conflicts(operations, base.lines, current)
            applied = self._apply(current, wanted)
            draft = replace(
                self._draft(cause, current, applied),
                policy=policy,
                model_digest=model_digest,
                prompt_digest=prompt_digest,
                undoes=undoes,
                stats=stats or Stats(),
                rejected=self._masking.rejected((*rejected, *late, *nothing_to_do(applied.skipped))),
                note=self._masking.text(note),
            )

            def also(journal: Journal, made: Revision) -> None:
                journal.add_pending(waiting, made)
                journal.note_mentions(mentions)

            return protocol.write(draft, applied.document, folded, also=also)

    def _apply(self, current: Memory, operations: Iterable[Operation]) -> Applied:
        with self._folder.journal().view():
            next_id = self._folder.journal().memory_view().next_line_id
        # A hand edit that is only whitespace is settled by now, so every id in `current` is below next_id.
        return apply_all(current.document, current.lines, operations, next_id)

    def _draft(self, cause: Cause, current: Memory, applied: Applied) -> Revision:
        digest = current.digest
        return Revision(0, self._folder.now(), cause, "prepared", applied.done, digest, digest)

    def undo(self, revision_id: int | None = None) -> Revision:
        """Take a revision back (without an id, the newest one that was not taken back yet), by line id, on today's
        memory. Its turns stay folded. The undo is a revision too, so it can be undone. Raises InvalidInput."""
        with self._folder.changing() as protocol:
            current = protocol.settle()
            for target in self._undoable() if revision_id is None else [self.revision(revision_id)]:
                wanted = [operation for operation in inverse(target.operations) if operation.text != FORGOTTEN]
                applied = self._apply(current, wanted)
                if applied.done:
                    break
            else:
                which = "any revision" if revision_id is None else f"revision {revision_id}"
                raise InvalidInput(f"nothing of {which} is left to undo", "see `edgemem memory history`")
            exact = self._text_before(target, current, applied)
            draft = replace(self._draft("undo", current, applied), undoes=target.id)
            document = applied.document if exact is None else exact
            return protocol.write(draft, document, stamp=exact is None or updated_stamp(exact) != "")

    def _undoable(self) -> list[Revision]:
        """Revisions that still stand, newest first; an undo stands for the revision that it took back."""
        undone: set[int] = set()
        standing: list[Revision] = []
        for revision in self.revisions():
            if revision.id in undone:
                continue
            if revision.undoes is not None:
                undone.add(revision.undoes)
            elif revision.operations and revision.cause != "forget":
                standing.append(revision)
        return standing

    def _text_before(self, target: Revision, current: Memory, applied: Applied) -> Document | None:
        """The file byte for byte as it was before `target`, if nothing but the stamp changed since."""
        before, after = parse(self._text_at(target.id - 1)), parse(self._text_at(target.id))
        if without_stamp(after) != without_stamp(current.document) or digest_of(render(before)) != target.base_digest:
            return None
        told = sorted((fact.section, fact.text) for fact in before.facts)
        return before if told == sorted((line.section, line.text) for line in applied.lines) else None

    def reset_for_rebuild(self) -> None:
        """Empty the memory, by a revision that can be undone, and make all journalled turns pending again.

        Lines that no turn could bring back stay: pinned, prose, edited by hand, imported, asked for by command.
        """
        with self._folder.changing() as protocol:
            current = protocol.settle()
            deletes = [Operation("delete", line.id) for line in current.lines if not self._kept_in_rebuild(line)]
            applied = self._apply(current, deletes)
            protocol.write(self._draft("rebuild", current, applied), applied.document)

    def _kept_in_rebuild(self, line: Line) -> bool:
        if line.protected or line.origin in ("edited", "imported"):
            return True
        with self._folder.journal().view():
            return line.origin == "asked" and not self._folder.journal().source_turns(line.id)

    def set_pinned(self, line_id: int, pinned: bool) -> None:
        """Keep the line from being changed by the model, or no longer. Raises InvalidInput for an unknown id."""
        with self._folder.changing() as protocol:
            protocol.settle()
            with protocol.journal.change():
                protocol.journal.line(line_id)
                protocol.journal.set_pinned(line_id, pinned)

    # Consent ---------------------------------------------------------------------------------------------------

    def waiting(self) -> list[PendingChange]:
        """Learned changes that wait until the person accepts them, oldest first."""
        return self._folder.ask(lambda journal: journal.pending_changes(), [])

    def review(
        self,
        operations: Iterable[Operation],
        *,
        base: Memory,
        decided: Collection[int],
        refused: Iterable[str] = (),
        note: str = "",
    ) -> Revision:
        """Carry out what was accepted of the waiting changes, and stop waiting for those in `decided` (their numbers,
        accepted and refused): both or neither. The texts `refused` are not learned again from a mere mention. Raises
        InvalidInput for a number that nothing waits under."""
        with self._folder.changing() as protocol:
            current = protocol.settle()
            wanted, late = without_conflicts(operations, base.lines, current)
            applied = self._apply(current, wanted)
            rejected = self._masking.rejected((*late, *nothing_to_do(applied.skipped)))
            draft = replace(self._draft("review", current, applied), note=note, rejected=rejected)
            buried = self._tombstone_key.any_of(refused)

            def also(journal: Journal, made: Revision) -> None:
                journal.decide(decided, made)
                for digests in buried:
                    journal.add_tombstone(self._folder.now(), digests)

            return protocol.write(draft, applied.document, also=also)

    # Chats -----------------------------------------------------------------------------------------------------

    def start_chat(self, kind: str = "chat") -> int:
        """Begin a chat, open until `end_chat` or the end of this process."""
        with self._folder.journal().change():
            chat_id = self._folder.journal().add_chat(kind, self._folder.now())
        self._folder.locks.open_chat(chat_id)
        return chat_id

    def end_chat(self, chat_id: int) -> None:
        """The chat is over: its turns may be learned by anyone."""
        with self._folder.journal().change():
            self._folder.journal().end_chat(chat_id, self._folder.now())
        self._folder.locks.close_chat(chat_id)

    def is_open(self, chat_id: int) -> bool:
        """Whether a living process, this one or another, has the chat open."""
        return not self._folder.read_only and self._folder.locks.is_open(chat_id)

    def add_exchange(
        self,
        chat_id: int,
        user_text: str,
        reply_text: str,
        user_time: datetime,
        reply_time: datetime,
        stats: Stats,
    ) -> tuple[Turn, Turn]:
        """Keep a question and its answer, durably, both or neither. Raises InvalidInput for an unknown chat."""
        journal = self._folder.journal()
        user_text = self._masking.turn(chat_id, "user", user_text)
        reply_text = self._masking.turn(chat_id, "assistant", reply_text)
        with journal.change():
            question = journal.add_turn(chat_id, "user", user_text, user_time)
            return question, journal.add_turn(chat_id, "assistant", reply_text, reply_time, stats)

    def add_turn(self, chat_id: int, role: Role, text: str, time: datetime) -> Turn:
        """Keep one turn, durably. Raises InvalidInput for an unknown chat."""
        with self._folder.journal().change():
            return self._folder.journal().add_turn(chat_id, role, self._masking.turn(chat_id, role, text), time)

    def chats(self) -> list[ChatInfo]:
        """Every chat, oldest first."""
        chats: list[ChatInfo] = self._folder.ask(lambda journal: journal.chats(), [])
        return [replace(chat, open=chat.ended is None and self.is_open(chat.id)) for chat in chats]

    def turns(self, chat_id: int) -> list[Turn]:
        """The turns of a chat, oldest first."""
        return self._folder.ask(lambda journal: journal.turns(chat_id), [])

    def pending(self, chat_id: int | None = None, *, skip_open_of_others: bool = True) -> list[list[Turn]]:
        """What is still to be learned, one list per chat, oldest first: from its first unfolded user turn on,
        without user turns that were folded since and the replies to them.

        Chats that are open, here or elsewhere, are left out, except `chat_id`.
        """
        nothing: dict[int, set[int]] = {}
        unfolded = self._folder.ask(lambda journal: journal.unfolded(), nothing)
        return [
            _unlearned(self.turns(chat), user_turns)
            for chat, user_turns in sorted(unfolded.items())
            if chat == chat_id or not skip_open_of_others or not self.is_open(chat)
        ]

    def note_failure(self, turn_ids: Iterable[int], error: str) -> int:
        """Record that learning these turns failed. Returns how often it has by now."""
        error = self._masking.text(error)
        with self._folder.journal().change():
            return max((self._folder.journal().note_failure(turn_id, error) for turn_id in turn_ids), default=0)

    def fold_with(self, revision: Revision, turn_ids: Iterable[int]) -> None:
        """Mark turns that `revision` learned as learned, where that had to wait for something else to be done."""
        with self._folder.journal().change():
            self._folder.journal().fold_with(revision.id, turn_ids)

    def set_aside(self, turn_ids: Iterable[int], note: str) -> Revision:
        """Stop trying to learn these turns: a revision that folds them and changes nothing."""
        return self.commit((), base=self.read(), cause="set_aside", folded=turn_ids, note=note)

    def set_aside_turns(self) -> list[Turn]:
        """Turns that were set aside and not tried again."""
        return self._folder.ask(lambda journal: journal.set_aside_turns(), [])

    def retry_set_aside(self) -> int:
        """Make all set-aside turns pending again. Returns how many."""
        with self._folder.changing() as protocol, protocol.journal.change():
            return protocol.journal.retry_set_aside()

    def learning(self) -> AbstractContextManager[None]:
        """While held, no other process learns for this user. Raises StoreBusy at once when one does."""
        self._folder.journal()
        return self._folder.locks.learning()

    # History ---------------------------------------------------------------------------------------------------

    def revisions(self, limit: int | None = None) -> list[Revision]:
        """The recorded changes, newest first."""
        return self._folder.ask(lambda journal: journal.revisions(limit), [])

    def revision(self, revision_id: int) -> Revision:
        """One change. Raises InvalidInput when there is none of that id."""
        found = self._folder.ask(lambda journal: journal.revision(revision_id), None)
        if found is None:
            raise InvalidInput("nothing is recorded yet", "`edgemem memory history` lists what is")
        return found

    def text_of(self, revision_id: int) -> str:
        """memory.md as that revision left it; 0 is before the first. Raises InvalidInput when there is none."""
        if revision_id != 0:
            self.revision(revision_id)
        return self._text_at(revision_id)

    def _text_at(self, revision_id: int) -> str:
        return self._folder.ask(lambda journal: journal.text_of(revision_id), "")

    def diff(self, a: int, b: int) -> str:
        """Unified diff from revision `a` to revision `b`, empty when they left the same text."""
        before, after = (_rows(self.text_of(one)) for one in (a, b))
        return "\n".join(difflib.unified_diff(before, after, f"revision {a}", f"revision {b}", lineterm=""))

    def why(self, line_id: int) -> LineHistory:
        """Where a line comes from, also one that is gone. Raises InvalidInput for an id that never was."""
        current = {line.id: line for line in self.read().lines}

        def history(journal: Journal) -> LineHistory:
            recorded, present = journal.line(line_id)
            line = current.get(line_id, recorded)
            touched, turns = journal.touching(line_id), journal.source_turns(line_id)
            kind = replace(line, sensitivity=sensitivity_of(line.text, line.section))
            support = support_of(line.text, turns)
            return LineHistory(kind, present, line.origin, tuple(touched), tuple(turns), support)

        found = self._folder.ask(history, None)
        if found is None:
            raise InvalidInput(f"there is no line {line_id}", "nothing is remembered yet")
        return found

    # Moving in and out ------------------------------------------------------------------------------------------

    def archive(self, when: datetime) -> str:
        """Everything about the memory as one JSON text (`store.archive`)."""
        memory = self.read()
        lines = [(line, self.why(line.id).turns) for line in memory.lines]
        return archive_text(self.user, when, memory.text, lines, self.waiting())

    def export_to(
        self, path: Path, form: ExportForm, write: Callable[[Path, str], None], *, passphrase: str = ""
    ) -> None:
        """Let `write` put the export into `path`, and remember it: `forget` writes it anew. `sealed` is the JSON form,
        opened by `passphrase`. Raises as `write`, InvalidInput for a passphrase that is too short."""
        text, noted = self._export(form), str(form)
        if form == "sealed":
            text, noted = seal_export(text, passphrase)
        with self._folder.journal().change():  # first: an export that nobody knows of could not be written anew
            self._folder.journal().note_export(str(path.absolute()), noted, self._folder.now())
        write(path, text)

    def _export(self, form: str) -> str:
        return self.text() if form == "markdown" else self.archive(self._folder.now())

    def take_in_turns(self, turns: Sequence[Turn]) -> dict[int, int]:
        """Keep messages of an archive as a chat that is learned already, once; their ids there -> here."""
        if not turns:
            return {}
        source = archive_source(turns)
        with self._folder.changing() as protocol:
            current = protocol.settle()
            journal = protocol.journal
            with journal.change():
                if (known := journal.taken_in(source)) is not None:
                    here = journal.turns(known)
                    return {there.id: one.id for there, one in zip(turns, here, strict=True)}
                chat_id = journal.add_chat("import", turns[0].time)
                made = {
                    turn.id: journal.add_turn(
                        chat_id, turn.role, self._masking.turn(chat_id, turn.role, turn.text), turn.time
                    ).id
                    for turn in turns
                }
                journal.end_chat(chat_id, turns[-1].time)
                journal.note_import(source, chat_id, self._folder.now())
                draft = replace(self._draft("command", current, Applied(current.document, current.lines, (), ())))
                users = [made[turn.id] for turn in turns if turn.role == "user"]
                note = f"{len(turns)} messages taken in"
                journal.finish(journal.prepare(replace(draft, note=note), None, users))
        return made

    def restore(self, archive: Archive, operations: Sequence[Operation]) -> Revision:
        """Make an empty memory what the archive says, byte for byte. `operations` are its lines (see `Archive`).

        Raises InvalidInput when the memory is not empty.
        """
        with self._folder.changing() as protocol:
            current = protocol.settle()
            if current.lines:
                raise InvalidInput("the memory is not empty", "import adds the lines instead")
            with protocol.journal.view():
                next_id = protocol.journal.memory_view().next_line_id
            done = tuple(replace(one, line_id=next_id + place) for place, one in enumerate(operations))
            draft = replace(self._draft("command", current, Applied(current.document, (), done, ())), note="restored")
            pinned = {(line.section, line.text) for line in archive.lines if line.pinned}
            pins = [one.line_id or 0 for one in done if (one.section, one.text) in pinned]

            def also(journal: Journal, made: Revision) -> None:
                journal.pin_coming(pins, made)
                journal.add_pending(archive.waiting, made)

            return protocol.write(draft, parse(archive.memory), stamp=False, also=also)

    def take_in_chat(self, source: str, kind: str, turns: Sequence[tuple[Role, str, datetime]]) -> bool:
        """Keep a conversation of another assistant as a chat to learn from; False when it is here already.

        All of it or nothing, so an import that was stopped goes on where it was.
        """
        journal = self._folder.journal()
        with journal.change():
            if journal.taken_in(source) is not None:
                return False
            chat_id = journal.add_chat(kind, turns[0][2])
            for role, text, time in turns:
                journal.add_turn(chat_id, role, self._masking.turn(chat_id, role, text), time)
            journal.end_chat(chat_id, turns[-1][2])
            journal.note_import(source, chat_id, self._folder.now())
        return True

    # Computed prompts ------------------------------------------------------------------------------------------

    def keep_computed(self, digest: str, write: Callable[[], None]) -> bool:
        """Let `write` put a file into `kv_folder`, unless the memory is no longer the one of `digest` (False).

        Nobody changes or forgets anything meanwhile. Raises StoreBusy, StoreWriteFailed, OSError.
        """
        with self._folder.changing() as protocol:
            if protocol.settle().digest != digest:
                return False
            make_private_folder(self.kv_folder)
            write()
        return True

    # Forgetting ------------------------------------------------------------------------------------------------

    def forget(self, line_ids: Iterable[int] = (), words: str = "", turn_ids: Iterable[int] = ()) -> Forgotten:
        """Erase lines, all that has `words` in it, and turns, from every file of the user; then search the bytes.

        A line takes every text it ever had and the turns it came from (with their answers) along; a turn takes the
        lines that rest on nothing else. Computed prompts go whole, since they hold the memory's tokens. Tombstones
        stop it from being learned again. This cannot be undone. Raises InvalidInput for an unknown line, or words too
        short to mean anything.
        """
        words, line_ids, turn_ids = clean_text(words), tuple(line_ids), frozenset(turn_ids)
        if len(words) < WORDS_MIN_CHARACTERS and (words or not (line_ids or turn_ids)):
            raise InvalidInput("nothing to forget was named", "give line ids, or words of two letters and more")
        with self._folder.changing() as protocol:
            current = protocol.settle()
            journal = protocol.journal
            with journal.view():
                chosen = {*line_ids, *journal.lines_only_from(turn_ids)}
                erasure = erasure_of(journal, current, sorted(chosen), words)
                going = journal.turns_going(erasure, turn_ids)
            deletes = [Operation("delete", line.id) for line in current.lines if line.id in erasure.line_ids]
            applied = self._apply(current, deletes)
            buried = self._tombstone_key.any_of({words, *erasure.texts} - {""})
            begin_erasing(self.folder)
            # First what needs the words; once the journal has lost them nobody knows them any more.
            typed = scrub_typed(self.folder, erasure, [turn.text for turn in going], self.seal)
            erased = self._erase(protocol, self._draft("forget", current, applied), applied, erasure, going, buried)
            computed, again = self._erase_rest()
        left, files, total = searched(self.folder, erasure, remaining=self.text(), exports=again, opened=self._opened)
        return Forgotten(
            len(erasure.line_ids),
            erased.turns,
            erased.revisions,
            left,
            computed,
            typed,
            erased.waiting,
            len(again),
            files_searched=files,
            bytes_searched=total,
        )

    def _erase(
        self,
        protocol: CommitProtocol,
        draft: Revision,
        applied: Applied,
        erasure: Erasure,
        going: Sequence[Turn],
        buried: Sequence[frozenset[str]],
    ) -> Erased:
        """Take it out of the journal and the memory: one transaction prepares both, and nobody can end it halfway."""
        wordless = tuple(replace(one, old_text=FORGOTTEN) for one in draft.operations)
        turns = [turn.id for turn in going]
        erased = Erased(0, 0, 0)

        def also(journal: Journal, _: Revision) -> None:
            nonlocal erased
            erased = journal.erase(erasure, turns)
            for digests in buried:
                journal.add_tombstone(self._folder.now(), digests)

        protocol.write(replace(draft, operations=wordless), applied.document, also=also)
        with protocol.journal.change():  # once more, for what the new revision itself holds
            protocol.journal.erase(erasure, turns)
        return erased

    def _erase_rest(self) -> tuple[int, dict[Path, str]]:
        """What needs no words: SQLite's leavings, computed prompts, exports. How many prompts, which exports."""
        with self._folder.changing() as protocol:
            protocol.complete()
            protocol.journal.compact()
            computed = remove_computed(self.folder, protocol.file.staged)
            again = self._exports_again()
            end_erasing(self.folder)
        return computed, again

    def exports(self) -> dict[Path, str]:
        """The files that we wrote for the person and that are still there and ours, each with its form."""
        nothing: list[tuple[str, str]] = []
        known = self._folder.ask(lambda journal: journal.exports(), nothing)
        return {Path(name): form for name, form in known if is_export(Path(name))}

    def _exports_again(self) -> dict[Path, str]:
        """Write the exports anew, from today's memory: each that was, with its form. An encrypted one that is damaged,
        or another one in its place, stays as it is."""
        written: dict[Path, str] = {}
        for path, form in self.exports().items():
            text = self._export(form)
            if form.startswith(SEALED):
                try:
                    text = seal_export_again(text, form, path.read_bytes())
                except (InvalidInput, MemoryLocked):
                    continue
            replace_whole(path, text.encode())
            written[path] = form
        return written

    def forget_everything(self) -> Forgotten:
        """Remove every file of the user: memory, journal, computed prompts, typed history, keys. Cannot be undone.
        Raises StoreBusy while another process has a chat open, StoreWriteFailed."""
        lines = len(self.read().lines)
        chats = self.chats()
        if any(chat.open for chat in chats):
            raise StoreBusy(f"a chat of {self.user} is open", "close it, then try again")
        with self._folder.changing():
            begin_erasing(self.folder, everything=True)
            removed = remove_all(self.folder, [self._tombstone_key.path])
        self.close()
        release_removed()
        turns = sum(chat.turns for chat in chats)
        return Forgotten(lines, turns, 0, bytes_left=0, computed=removed, files_searched=removed)

    def said_turns(self) -> list[Turn]:
        """Every message and answer that was not forgotten, oldest first."""
        return self._folder.ask(lambda journal: journal.said_turns(), [])

    def buried(self, texts: Sequence[str], present: Iterable[str] = ()) -> dict[str, Tombstone]:
        """Those of `texts` that say something forgotten, each with its (latest) tombstone. A thing that a line of
        `present` says again is not forgotten any more."""
        nothing: list[Tombstone] = []
        stones = self._folder.ask(lambda journal: journal.tombstones(), nothing)
        if not stones:
            return {}
        again = self._tombstone_key.any_of(present)
        valid = [stone for stone in stones if not any(map(stone.covers, again))]
        digests = {text: self._tombstone_key.digests(text) for text in texts}
        return {text: stone for text in texts for stone in valid if stone.covers(digests[text])}

    def lift(self, tombstones: Iterable[Tombstone]) -> None:
        """The person said these things anew: they may be learned again."""
        with self._folder.journal().change():
            self._folder.journal().lift_tombstones(stone.id for stone in tombstones)


def _rows(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _unlearned(turns: Sequence[Turn], unfolded: set[int]) -> list[Turn]:
    """The unfolded user turns with what was said after each."""
    kept: list[Turn] = []
    keep = False
    for turn in turns:
        keep = turn.id in unfolded if turn.role == "user" else keep
        if keep:
            kept.append(turn)
    return kept
