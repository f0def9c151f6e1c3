"""The assistant: chats that know the user, and learning from them afterwards. No outside library.

Flow of a turn: memory (read once per chat, frozen) -> prompt -> engine -> pieces -> journal.
Flow of an update: pending turns -> policy proposes -> checker -> store. A reply never waits for an update.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgemem.errors import Cancelled, ContextExceeded, InvalidInput, UpdateFailed
from edgemem.kept_memory import KeptMemory
from edgemem.memory.check import Checked, check
from edgemem.memory.consent import sift
from edgemem.memory.forget_requests import ForgetRequest, forget_requests, lines_meant, said_anew, turns_meant
from edgemem.memory.lines import Memory, prompt_view
from edgemem.memory.mentions import mentions
from edgemem.policies import CHUNK_TOKENS, TRIES, Policy, UpdateTask, open_policy
from edgemem.prompting.prompts import EMPTY_VIEW, Prompts, load_prompts
from edgemem.prompting.think import ThinkFilter
from edgemem.store.records import Forgotten
from edgemem.store.sealing import Passphrase
from edgemem.store.user_store import UserStore, open_store
from edgemem.values import (
    BUDGET_TOKENS,
    Message,
    Operation,
    Piece,
    Rejected,
    Review,
    Revision,
    Sampling,
    Stats,
    Turn,
)

if TYPE_CHECKING:
    from edgemem.engines.base import Engine, Session

DEFAULT_MODEL = "qwen2.5-coder-1.5b"
REPLY_TOKENS = 1024
CHAT_SAMPLING = Sampling(temperature=0.7, top_p=0.8, top_k=20, repeat_penalty=1.05)

Cancel = Callable[[], bool]
Progress = Callable[[str, int, int], None]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What learning did. `seconds` is wall clock, `memory_tokens` the size afterwards as the model sees it."""

    revisions: tuple[Revision, ...] = ()
    folded_turns: int = 0
    memory_tokens: int = 0
    seconds: float = 0.0
    stats: Stats = field(default_factory=Stats)
    set_aside: int = 0
    error: str = ""
    waiting: int = 0
    forgotten: Forgotten | None = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        return tuple(operation for revision in self.revisions for operation in revision.operations)

    @property
    def added(self) -> int:
        return sum(operation.kind == "add" for operation in self.operations)

    @property
    def updated(self) -> int:
        return sum(operation.kind == "update" for operation in self.operations)

    @property
    def deleted(self) -> int:
        return sum(operation.kind == "delete" for operation in self.operations)

    def summary(self) -> str:
        """One line for people: `memory updated (+1 ~1)`."""
        parts = [f"{sign}{n}" for sign, n in (("+", self.added), ("~", self.updated), ("-", self.deleted)) if n]
        text = f"memory updated ({' '.join(parts)})" if parts else "nothing new to remember"
        if self.forgotten:
            text += (
                f"; forgotten as you asked: {self.forgotten.lines} lines, {self.forgotten.turns} messages and answers"
            )
        if self.waiting:
            text += f"; {self.waiting} sensitive or to be reviewed: edgemem memory review"
        if self.set_aside:
            text += f"; {self.set_aside} turns could not be learned and were set aside (memory update --retry)"
        return text


def open_assistant(
    user: str = "default",
    *,
    model: str = DEFAULT_MODEL,
    engine: Engine | None = None,
    data_dir: Path | None = None,
    policy: str | None = None,
    device: str = "auto",
    gpu_layers: int | None = None,
    context_tokens: int | None = None,
    threads: int | None = None,
    offline: bool = False,
    budget_tokens: int = BUDGET_TOKENS,
    temporary: bool = False,
    mask_secrets: bool = True,
    review: Review = "sensitive",
    never_keep: Sequence[str] = (),
    passphrase: Passphrase | None = None,
    tune: bool = False,
    progress: Progress | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Assistant:
    """Open the memory of `user` and load the model (unless an `engine` is given).

    `temporary` reads the memory but writes no byte anywhere, `tune` tests at a model's first use what is fastest here
    (`opening.open_model`), `passphrase` is asked for when the
    memory is encrypted. Raises the errors of the model catalogue, the engine
    and the store, each with the next step.
    """
    from edgemem.places import places

    if not 1 <= budget_tokens <= BUDGET_TOKENS:
        raise InvalidInput(f"a budget of {budget_tokens} tokens cannot be used", f"use 1 to {BUDGET_TOKENS}")
    where = places(data_dir)
    store = open_store(where.data, user, read_only=temporary, mask_secrets=mask_secrets, passphrase=passphrase)
    prompts, default_policy, thresholds = load_prompts(), "edits", None
    if engine is None:
        from edgemem.opening import open_model

        opened = open_model(
            model,
            where=where,
            device=device,
            gpu_layers=gpu_layers,
            context_tokens=context_tokens,
            threads=threads,
            offline=offline,
            persist=not temporary,
            tune=tune,
            progress=progress,
        )
        engine, prompts = opened.engine, opened.prompts
        default_policy, thresholds = opened.policy, opened.thresholds
    chosen = open_policy(policy or default_policy, thresholds=thresholds)
    cache = None if temporary else where.cache / "kv" / "prompts"
    return Assistant(
        user,
        engine,
        store,
        chosen,
        prompts,
        budget_tokens,
        temporary=temporary,
        cache=cache,
        keeps_computed=True,
        review=review,
        never_keep=never_keep,
        now=now,
    )


class Assistant:
    """One user's assistant. Several chats may be open at once, here and in other processes."""

    def __init__(
        self,
        user: str,
        engine: Engine,
        store: UserStore,
        policy: Policy,
        prompts: Prompts,
        budget_tokens: int = BUDGET_TOKENS,
        *,
        temporary: bool = False,
        cache: Path | None = None,
        keeps_computed: bool = False,
        review: Review = "sensitive",
        never_keep: Sequence[str] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`keeps_computed`: the computed memory is kept on disk after each change; then `close` must be called.
        `review` and `never_keep`: which learned lines wait for consent, and which are never kept (`memory.consent`).
        """
        self.user = user
        self.engine = engine
        self.store = store
        self.policy = policy
        self.prompts = prompts
        self.budget_tokens = budget_tokens
        self.temporary = temporary
        self.cache = cache
        self.keeps_computed = keeps_computed and not temporary
        self.review = review
        self.never_keep = tuple(never_keep)
        self.now = now
        self.kept = KeptMemory(engine, store, prompts, now=now, room=self._room)
        self._chats: list[Chat] = []
        self._default: Chat | None = None

    # --- chatting

    def open_chat(self, *, temporary: bool = False) -> Chat:
        """A new chat. Its memory is what is known now; a temporary one leaves no trace."""
        chat = Chat(self, temporary=temporary or self.temporary)
        self._chats.append(chat)
        return chat

    def reply(self, text: str) -> Iterator[Piece]:
        """Answer in the assistant's default chat. The last piece carries `Stats`."""
        if self._default is None:
            self._default = self.open_chat()
        return self._default.reply(text)

    # --- learning

    def remember(
        self, *, chat: Chat | None = None, cancelled: Cancel | None = None, progress: Progress | None = None
    ) -> UpdateReport:
        """Learn what is pending: turns of `chat` (default: the default chat), and of chats that nobody has open.

        An update that cannot be used leaves memory and turns as they are; after three differently sampled tries
        its turns are set aside. Raises StoreBusy when another process is learning, Cancelled when told to stop.
        """
        if self.temporary or (chat is not None and chat.temporary):
            return UpdateReport()
        chat = chat or self._default
        started = time.perf_counter()
        report = UpdateReport()
        with self.store.learning():
            groups = self.store.pending(chat.id if chat else None)
            parts = [turns for group in groups for turns in self._chunks(group)]
            requests = forget_requests([turn for group in groups for turn in group])
            # They count as learned when it is forgotten: whoever dies in between is asked again.
            later = {request.turn.id for request in requests}
            for number, turns in enumerate(parts, 1):
                if progress:
                    progress("learning", number, len(parts))
                report = self._learn(turns, later, report, cancelled)
            report = self._forget_as_asked(requests, report)
            if later:
                self.store.fold_with(report.revisions[-1], later)
        self._memory_changed(report.operations)
        return replace(report, seconds=time.perf_counter() - started, memory_tokens=self.memory_tokens())

    def _forget_as_asked(self, requests: Sequence[ForgetRequest], report: UpdateReport) -> UpdateReport:
        """Erase what is asked to be forgotten, everywhere: lines that say it, those that the update deleted for it,
        the messages that said it before, and the requests themselves."""
        if not requests:
            return report
        asked_in = {request.turn.id for request in requests}
        deleted = {one.line_id for one in report.operations if one.kind == "delete" and asked_in & {*one.sources}}
        told = self.store.said_turns()
        lines = lines_meant(requests, self.store.read().lines, told) | {one for one in deleted if one is not None}
        said = turns_meant(requests, told)
        if not lines and not said:
            return report
        return replace(report, forgotten=self.forget(sorted(lines), turn_ids=sorted(said)))

    def rebuild(self, *, cancelled: Cancel | None = None, progress: Progress | None = None) -> UpdateReport:
        """Learn all journalled chats again, with this model and policy. One revision empties the memory first
        (pinned and hand-written lines stay); undo brings it back."""
        self.store.reset_for_rebuild()
        return self.remember(cancelled=cancelled, progress=progress)

    def _learn(
        self, turns: Sequence[Turn], later: Collection[int], report: UpdateReport, cancelled: Cancel | None
    ) -> UpdateReport:
        """Learn these turns; those in `later` are not marked as learned yet."""
        users = [turn.id for turn in turns if turn.role == "user"]
        error = ""
        for number in range(len(TRIES)):
            try:
                revision, waiting, stats = self._update(turns, later, TRIES[number], cancelled)
            except (UpdateFailed, ContextExceeded) as failure:
                error = failure.message
                if self.store.note_failure(users, error) >= len(TRIES):
                    break
                continue
            return replace(
                report,
                revisions=(*report.revisions, revision),
                folded_turns=report.folded_turns + len(users),
                stats=report.stats.plus(stats),
                waiting=report.waiting + waiting,
            )
        aside = self.store.set_aside([one for one in users if one not in later], error)
        return replace(
            report,
            revisions=(*report.revisions, aside),
            set_aside=report.set_aside + len(users),
            error=error,
        )

    def _update(
        self, turns: Sequence[Turn], later: Collection[int], sampling: Sampling, cancelled: Cancel | None
    ) -> tuple[Revision, int, Stats]:
        """The revision, how many changes wait for consent, and what it cost."""
        memory = self.store.read()
        task = UpdateTask(
            self.engine,
            self.prompts,
            memory,
            turns,
            turns[-1].time,
            self.budget_tokens,
            sampling,
            cancelled,
            self.cache,
        )
        proposal = self.policy.propose(task)
        checked = check(proposal.operations, memory, turns, self.budget_tokens, self.engine.count)
        if cancelled is not None and cancelled():
            raise Cancelled("the memory update was stopped", "the chat will be learned at the next start")
        asked = [one.operation.text for one in self.store.waiting()]
        kept, buried = self._without_forgotten(checked.operations, memory, turns)
        sifted = sift(kept, memory.lines, review=self.review, never_keep=self.never_keep, asked_before=asked)
        rejected = (*checked.rejected, *sifted.refused, *buried)
        folded = [turn.id for turn in turns if turn.role == "user" and turn.id not in later]
        found = Checked(sifted.active, rejected)
        revision = self._commit(found, sifted.waiting, memory, turns, folded, proposal.stats)
        return revision, len(sifted.waiting), proposal.stats

    def _without_forgotten(
        self, operations: Sequence[Operation], memory: Memory, turns: Sequence[Turn]
    ) -> tuple[list[Operation], list[Rejected]]:
        """What may be learned of `operations`: not what was forgotten, unless a turn since then says it anew."""
        texts = [operation.text for operation in operations if operation.kind != "delete"]
        buried = self.store.buried(texts, [line.text for line in memory.lines])
        anew = {text: stone for text, stone in buried.items() if said_anew(text, turns, stone.created)}
        self.store.lift(anew.values())
        gone = [one for one in operations if one.text in buried and one.text not in anew]
        # Not even the journal keeps the words of what is refused here.
        refused = [
            Rejected(replace(one, text="", old_text=""), "forgotten", "said before it was forgotten") for one in gone
        ]
        return [one for one in operations if one not in gone], refused

    def _commit(
        self,
        checked: Checked,
        waiting: Sequence[Operation],
        memory: Memory,
        turns: Sequence[Turn],
        folded: Sequence[int],
        stats: Stats,
    ) -> Revision:
        return self.store.commit(
            checked.operations,
            base=memory,
            cause="overwrite" if self.policy.name == "overwrite" else "update",
            folded=folded,
            policy=self.policy.name,
            model_digest=self.engine.info.digest,
            prompt_digest=self.prompts.digest,
            stats=stats,
            rejected=checked.rejected,
            mentions=mentions(memory.lines, turns),
            waiting=waiting,
        )

    def _chunks(self, turns: Sequence[Turn]) -> Iterator[list[Turn]]:
        """Turns of one chat in parts of at most CHUNK_TOKENS, or less where the context is small. A part ends
        before a user turn; a single turn that is longer stands alone, and is cut into several texts to read."""
        limit = min(CHUNK_TOKENS, self.engine.info.context_tokens - 2 * self.budget_tokens - 700)
        if limit < 200:
            limit = max(200, self.engine.info.context_tokens // 3)
        part: list[Turn] = []
        size = 0
        for turn in turns:
            tokens = self.engine.count(turn.text) + 8
            if part and turn.role == "user" and size + tokens > limit:
                yield part
                part, size = [], 0
            if tokens > limit:
                turn = replace(turn, text=_shortened(turn.text, limit / tokens))
                tokens = limit
            if size + tokens > limit and turn.role == "assistant":
                turn = replace(turn, text=_shortened(turn.text, max(0.0, (limit - size) / tokens)))
            part.append(turn)
            size += tokens
        if part:
            yield part

    # --- the memory by hand

    def memory(self) -> Memory:
        """The memory as it is now (hand edits included)."""
        return self.store.read()

    def memory_tokens(self) -> int:
        """Size of the memory as the model sees it, in its own tokens."""
        return self.engine.count(prompt_view(self.store.read().lines))

    def add_line(self, text: str, section: str = "About") -> Revision:
        """Remember `text` because the user asks. Makes room when the budget is reached.

        Raises InvalidInput when the text cannot be a line or does not fit even so.
        """
        memory = self.store.read()
        operation = Operation("add", section=section, text=text, origin="asked")
        checked = check([operation], memory, (), self.budget_tokens, self.engine.count)
        if checked.rejected:
            refused = checked.rejected[-1]
            raise InvalidInput(f"this cannot be remembered: {refused.detail or refused.reason}")
        revision = self.store.commit(checked.operations, base=memory, cause="command")
        self._memory_changed(revision.operations)
        return revision

    def forget(self, line_ids: Sequence[int] = (), words: str = "", turn_ids: Sequence[int] = ()) -> Forgotten:
        """Remove lines and turns (and what the journal holds of them). Open chats of this process start afresh, so
        that what they held of it is gone from their caches too."""
        self.kept.stop()
        forgotten = self.store.forget(line_ids, words, turn_ids)
        for chat in self._chats:
            chat.restart()
        return forgotten

    def close(self) -> None:
        """Close all chats (without learning) and give the model back."""
        for chat in list(self._chats):
            chat.close()
        try:
            self.kept.finish()
        finally:
            self.store.close()
            self.engine.close()

    def _memory_changed(self, operations: Sequence[Operation]) -> None:
        if operations and self.keeps_computed:
            self.kept.refresh()

    def _room(self) -> int:
        """Tokens of the context that open chats can do without."""
        needed = sum(chat.tokens + 2 * REPLY_TOKENS for chat in list(self._chats))
        return self.engine.info.context_tokens - needed

    def __enter__(self) -> Assistant:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def closed(self, chat: Chat) -> None:
        """Called by a chat that closes."""
        if chat in self._chats:
            self._chats.remove(chat)
        if self._default is chat:
            self._default = None


class Chat:
    """One conversation. Its memory is read at the first reply and stays as it was; the prompt only grows."""

    def __init__(self, assistant: Assistant, *, temporary: bool) -> None:
        self.assistant = assistant
        self.temporary = temporary
        self.id: int | None = None
        self._session: Session | None = None
        self._memory: Memory | None = None
        self._started: datetime | None = None
        self._past: list[Message] = []
        self._held: list[int] = []  # ids of the prompt and all finished turns

    def reply(self, text: str, *, cancelled: Cancel | None = None) -> Iterator[Piece]:
        """Answer `text`. Think parts are left out. The turn is journalled when the answer is whole; an
        interrupted answer (closed generator, `cancelled`) leaves no trace.

        Raises InvalidInput for an empty message, ContextExceeded for one that cannot fit.
        """
        if not text.strip():
            raise InvalidInput("there is nothing to answer", "type a message")
        self.assistant.kept.reply_starts()
        try:
            yield from self._reply(text, cancelled)
        finally:
            self.assistant.kept.reply_ends()

    def _reply(self, text: str, cancelled: Cancel | None) -> Iterator[Piece]:
        asked_at = self.assistant.now()
        try:
            session = self._prepare(text, cancelled)
        except Cancelled:
            yield Piece("", Stats(stop_reason="cancelled"))
            return
        think = ThinkFilter()
        parts: list[str] = []
        stats = Stats()
        room = self.assistant.engine.info.context_tokens - len(session.ids)
        for piece in session.generate(min(REPLY_TOKENS, room), CHAT_SAMPLING, cancelled=cancelled):
            shown = think.push(piece.text)
            stats = piece.stats or stats
            if shown:
                parts.append(shown)
                yield Piece(shown)
        if shown := think.finish():
            parts.append(shown)
            yield Piece(shown)
        if stats.stop_reason != "cancelled":
            self._finish(text, "".join(parts), asked_at, stats)
        yield Piece("", stats)

    def remember(self, *, cancelled: Cancel | None = None, progress: Progress | None = None) -> UpdateReport:
        """Learn this chat's turns so far (and those of chats that nobody has open)."""
        return self.assistant.remember(chat=self, cancelled=cancelled, progress=progress)

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and all finished turns."""
        return len(self._held)

    def restart(self) -> None:
        """Forget the KV and the frozen memory; the next reply starts from today's memory, without past turns."""
        if self._session is not None:
            self._session.close()
        self._session, self._memory, self._past, self._held = None, None, [], []

    def close(self) -> None:
        """End the chat; what is pending stays pending. Closing twice is fine."""
        self.restart()
        if self.id is not None:
            self.assistant.store.end_chat(self.id)
            self.id = None
        self.assistant.closed(self)

    # --- inner steps

    def _prepare(self, text: str, cancelled: Cancel | None) -> Session:
        engine = self.assistant.engine
        if self._memory is None:
            self._memory = self.assistant.store.read()
            self._started = self.assistant.now()
        if self._session is None:
            self._session = engine.open()
            kept = self.assistant.kept.restore(self._session, traceless=self.temporary)
            if not kept and self.assistant.keeps_computed and not self.temporary:
                self.assistant.kept.refresh()  # after this reply, so that the next chat need not read it all
        message = Message("user", text)
        if self._held:
            ids = [*self._held, *engine.render_next(message)]
            if len(ids) + REPLY_TOKENS <= engine.info.context_tokens:
                self._session.feed(ids, cancelled)
                return self._session
        self._session.feed(self._windowed(message), cancelled)
        return self._session

    def _windowed(self, message: Message) -> list[int]:
        """The prompt with as many past turns as fit in half of the context (all of them at the start): turns
        are dropped in one large block, because every drop costs a whole prefill."""
        engine = self.assistant.engine
        assert self._memory is not None
        assert self._started is not None
        view = prompt_view(self._memory.lines) or EMPTY_VIEW
        system = self.assistant.prompts.chat_system(view, self._started)
        past = list(self._past)
        while True:
            ids = engine.render([system, *past, message])
            if not past or len(ids) <= engine.info.context_tokens // 2:
                break
            past = past[2:]
        if len(past) < len(self._past):
            self._past = past
        reserve = min(REPLY_TOKENS, 64)
        if len(ids) + reserve > engine.info.context_tokens:
            raise ContextExceeded(
                f"the message needs {len(ids)} tokens with the memory, the model's context has "
                f"{engine.info.context_tokens}",
                "shorten the message, or use a larger context: --context N",
            )
        return ids

    def _finish(self, text: str, answer: str, asked_at: datetime, stats: Stats) -> None:
        assert self._session is not None
        if not self.temporary:
            store = self.assistant.store
            if self.id is None:
                self.id = store.start_chat()
            store.add_exchange(self.id, text, answer, asked_at, self.assistant.now(), stats)
        self._held = list(self._session.ids)
        self._past += [Message("user", text), Message("assistant", answer)]


def _shortened(text: str, share: float) -> str:
    """The first and last part of a text that is too long to fold at once (a pasted file, say)."""
    keep = int(len(text) * share * 0.45)
    return f"{text[:keep]}\n[...]\n{text[len(text) - keep :]}" if keep else "[...]"
