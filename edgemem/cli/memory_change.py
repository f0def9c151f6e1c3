"""`edgemem memory`: changing what is remembered, by hand or by learning again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgemem.cli.ask_first import confirm
from edgemem.cli.learning import counter_for, learn, most_tokens, text_from
from edgemem.cli.memory import LineId
from edgemem.cli.memory_view import counts, operation_text, report_values, revision_values
from edgemem.cli.open import assistant_for, store_for
from edgemem.cli.options import DryRun, Run, Yes, common
from edgemem.cli.output import plural
from edgemem.errors import InvalidInput
from edgemem.memory.document import section_name
from edgemem.memory.lines import prompt_view
from edgemem.values import SECTIONS, Operation, Revision

if TYPE_CHECKING:
    from edgemem.assistant import UpdateReport
    from edgemem.memory.check import Checked
    from edgemem.store import UserStore

app = typer.Typer(rich_markup_mode=None)

PROBABLY_OVER = 2.3
"""Our upper estimate of tokens is at most this much too high for English."""

Section = Annotated[str, typer.Option("--section", "-s", help="Which section: " + ", ".join(SECTIONS) + ".")]


@app.command("add")
@common
def add(
    run: Run,
    text: Annotated[list[str] | None, typer.Argument(help="What to remember; stdin without it or with -.")] = None,
    section: Section = "",
) -> None:
    """Remember a line."""
    store = store_for(run)
    named, fact = split_section(text_from(text or []))
    operation = Operation("add", section=section_name(section) or named, text=fact, origin="asked")
    memory = store.read()
    with counter_for(run, memory, [operation]) as count:
        from edgemem.memory.check import check

        checked = check([operation], memory, (), run.settings.budget_tokens, count)
    if checked.rejected:
        refused = checked.rejected[-1]
        raise InvalidInput(
            f"this cannot be remembered: {refused.detail or refused.reason}", "edgemem memory show --ids"
        )
    say_revision(run, store.commit(checked.operations, base=memory, cause="command"))


@app.command("rm")
@common
def remove(run: Run, lines: Annotated[list[int], typer.Argument(metavar="LINE...", help="Ids of lines.")]) -> None:
    """Remove lines. (They stay in the history; `forget` erases them everywhere.)"""
    store = store_for(run)
    memory = store.read()
    known = {line.id: line for line in memory.lines}
    if missing := [number for number in lines if number not in known]:
        raise InvalidInput(f"there is no line {missing[0]}", "edgemem memory show --ids lists the lines")
    wanted = [known[number] for number in dict.fromkeys(lines)]
    operations = [Operation("delete", line.id, old_text=line.text, old_section=line.section) for line in wanted]
    say_revision(run, store.commit(operations, base=memory, cause="command"))


@app.command("edit")
@common
def edit(run: Run) -> None:
    """Open memory.md in your editor and record what you changed."""
    from edgemem.cli.editor import edit_memory

    store = store_for(run)
    before = store.read().digest
    edit_memory(store)
    after = store.read()
    if after.digest == before:
        run.output.note("nothing was changed")
        return
    say_revision(run, store.revisions(1)[0])
    if most_tokens(prompt_view(after.lines)) > PROBABLY_OVER * run.settings.budget_tokens:
        run.output.warn(
            f"the memory is probably over its budget of {run.settings.budget_tokens} tokens; "
            "it is kept as you wrote it, and the next update brings it back under"
        )


@app.command("undo")
@common
def undo(
    run: Run,
    revision: Annotated[int | None, typer.Argument(metavar="[REVISION]", help="Default: the newest.")] = None,
) -> None:
    """Take a change back (the undo can be undone too)."""
    store = store_for(run)
    say_revision(run, store.undo(revision))


@app.command("pin")
@common
def pin(run: Run, line: LineId) -> None:
    """Keep a line from being changed by the model."""
    _set_pinned(run, line, True)


@app.command("unpin")
@common
def unpin(run: Run, line: LineId) -> None:
    """Let the model change a line again."""
    _set_pinned(run, line, False)


@app.command("forget")
@common
def forget(
    run: Run,
    target: Annotated[
        list[str] | None, typer.Argument(metavar="[LINE... | WORDS]", help="Ids of lines, or words.")
    ] = None,
    chat: Annotated[int | None, typer.Option("--chat", help="All of one chat.")] = None,
    since: Annotated[str, typer.Option("--since", metavar="DAY", help="What was said from this day on.")] = "",
    before: Annotated[str, typer.Option("--before", metavar="DAY", help="What was said before this day.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="All that is kept of this user.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Erase lines, all that mentions some words, chats or times, everywhere. This cannot be undone."""
    from edgemem.cli.forgetting import forget_everything, forget_listing, forget_now, plan_for

    store = store_for(run)
    if everything:
        forget_everything(run, store, yes=yes, dry_run=dry_run)
        return
    plan = plan_for(store, target or [], chat, since, before)
    if run.output.json and dry_run:
        run.output.data({"dry_run": True, **plan.values()})
        return
    listing = run.output.text if dry_run else run.output.note
    listing(forget_listing(plan))
    if dry_run:
        return
    confirm(run, "Erase this everywhere? It cannot be undone.", yes)
    forget_now(run.output, store, plan)


@app.command("update")
@common
def update(
    run: Run, retry: Annotated[bool, typer.Option("--retry", help="Also turns that were set aside.")] = False
) -> None:
    """Learn now from all chats that were not learned yet."""
    store = store_for(run)
    if retry and (count := store.retry_set_aside() if store.set_aside_turns() else 0):
        run.output.note(f"{count} turns that were set aside are tried again")
    pending = store.pending()
    store.close()
    if not pending:
        from edgemem.assistant import UpdateReport

        _report(run, UpdateReport())
        return
    with assistant_for(run) as assistant:
        _report(run, learn(run, lambda stop, report: assistant.remember(cancelled=stop, progress=report)))


@app.command("rebuild")
@common
def rebuild(run: Run, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Learn all kept chats again, with this --model and --policy. Undo brings the old memory back."""
    store = store_for(run)
    chats = store.chats()
    lines = len(store.read().lines)
    store.close()
    turns = sum(chat.turns for chat in chats)
    plan = f"to learn: {plural(len(chats), 'chat')} with {plural(turns, 'turn')}; {plural(lines, 'line')} replaced"
    if dry_run:
        if run.output.json:
            run.output.data({"dry_run": True, "chats": len(chats), "lines": lines})
        run.output.text(plan)
        return
    run.output.note(plan + " (pinned and hand-written lines stay)")
    confirm(run, "Rebuild the memory?", yes)
    with assistant_for(run) as assistant:
        _report(run, learn(run, lambda stop, report: assistant.rebuild(cancelled=stop, progress=report)))


def split_section(text: str) -> tuple[str, str]:
    """`Health: no nuts` -> (Health, no nuts) where the word is one of our sections; else (About, all of it)."""
    name, colon, rest = text.partition(":")
    known = {section.casefold(): section for section in SECTIONS}
    if colon and rest.strip() and name.strip().casefold() in known:
        return known[name.strip().casefold()], rest.strip()
    return SECTIONS[0], text.strip()


def _set_pinned(run: Run, line: int, pinned: bool) -> None:
    store: UserStore = store_for(run)
    store.set_pinned(line, pinned)
    if run.output.json:
        run.output.data({"line": line, "pinned": pinned})
    run.output.text(f"line {line} is {'pinned' if pinned else 'no longer pinned'}")


def say_revision(run: Run, revision: Revision) -> None:
    """What a revision changed."""
    if run.output.json:
        run.output.data(revision_values(revision))
        return
    for operation in revision.operations:
        run.output.text(operation_text(operation, run.output))
    run.output.note(f"memory updated ({counts(revision.operations)}), revision {revision.id}")


def show_checked(run: Run, checked: Checked) -> None:
    """What would be changed, and what left out."""
    if run.output.json:
        rejected = [{"text": one.operation.text, "reason": one.reason} for one in checked.rejected]
        run.output.data({"dry_run": True, "operations": list(checked.operations), "rejected": rejected})
        return
    for operation in checked.operations:
        run.output.text(operation_text(operation, run.output))
    for one in checked.rejected:
        run.output.text(f"left out: {one.operation.text} ({one.detail or one.reason})")


def _report(run: Run, report: UpdateReport) -> None:
    if run.output.json:
        run.output.data(report_values(report))
        return
    for revision in report.revisions:
        for operation in revision.operations:
            run.output.text(operation_text(operation, run.output))
    run.output.note(report.summary())
    if report.error:
        run.output.warn(report.error)
