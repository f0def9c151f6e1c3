"""The write policy `edits`: which sentences become lines, in whose words, and which lines they overtake."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from notes_support import NOTES, last_message, noting

from edgemem.engines.base import Engine
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import Cancelled, InvalidInput
from edgemem.memory.document import parse
from edgemem.memory.lines import Memory, match_lines, memory_of
from edgemem.policies import Proposal, UpdateTask, open_policy
from edgemem.prompting.prompts import load_prompts
from edgemem.values import SECTIONS, Line, Operation, Turn

SAID = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
FAR = 50.0  # log-odds that no wording outweighs


Scores = Callable[[str, str], float]


def scores(*, keep: float = 0.0, changed: float = 0.0) -> Scores:
    """A model with this log-odds for keeping any sentence, and for any line being overtaken."""
    return lambda prompt, option: {"ADD": keep, "yes": changed}.get(option, 0.0)


def known(*facts: str, pinned: str = "", prose: str = "") -> Memory:
    text = "## About\n" + "".join(f"- {fact}\n" for fact in facts) + (f"\n{prose}\n" if prose else "")
    document = parse(text)
    lines = match_lines(document.facts, (), 1)
    return memory_of(document, [Line(one.id, one.section, one.text, one.text == pinned, one.prose) for one in lines])


def turns(*said: str) -> list[Turn]:
    return [Turn(number, 1, "user", text, SAID) for number, text in enumerate(said, 1)]


WRITES = {"notes": 1.0}
"""What a card says of a model that writes the notes itself; most of what follows is about those."""


def proposed(
    engine: Engine,
    said: list[Turn],
    memory: Memory | None = None,
    *,
    cache: Path | None = None,
    cancelled: Callable[[], bool] | None = None,
    thresholds: dict[str, float] | None = None,
    without: Iterable[str] = (),
) -> Proposal:
    task = UpdateTask(
        engine, load_prompts(), memory or known(), said, SAID, budget_tokens=2048, cancelled=cancelled, cache=cache
    )
    return open_policy("edits", thresholds={**WRITES, **(thresholds or {})}, without=without).propose(task)


def texts(proposal: Proposal) -> list[str]:
    return [operation.text for operation in proposal.operations]


def short(proposal: Proposal) -> list[tuple[str, int | None, str]]:
    return [(operation.kind, operation.line_id, operation.text) for operation in proposal.operations]


# What a note says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "written", "note"),
    [
        pytest.param("I like mountain tea.", "Likes mountain tea", "Likes mountain tea", id="faithful"),
        pytest.param("I like mountain tea.", "Likes mountain tea, honey", "I like mountain tea", id="a word more"),
        pytest.param("My sister lives in Porto.", "Sister Ana, Porto", "My sister lives in Porto", id="a name more"),
        pytest.param("Our twins are 7 now.", "Our twins are 8", "Our twins are 7 now", id="another number"),
        pytest.param(
            "I teach chemistry and physics at a school in Leeds.",
            "I teach chemistry",
            "I teach chemistry and physics at a school in Leeds",
            id="half is lost",
        ),
        pytest.param("I don't eat fish at all.", "Eat fish", "I don't eat fish at all", id="a negation less"),
        pytest.param("I eat fish every day.", "Never eat fish every day", "I eat fish every day", id="a negation more"),
        pytest.param("I like mountain tea.", "Likes mountain tea" + " I" * 90, "I like mountain tea", id="no end"),
        pytest.param("Ich esse keinen Fisch.", "Esse Fisch", "Ich esse keinen Fisch", id="German negation"),
        pytest.param("Mi hermana vive en Porto.", "Mi hermana Ana", "Mi hermana vive en Porto", id="Spanish name"),
        pytest.param("I fly to Oslo tomorrow.", "Likes Oslo a lot", "I fly to Oslo on 2026-11-24", id="a date"),
    ],
)
def test_a_note_that_does_not_say_what_was_said_is_replaced_by_the_users_sentence(
    said: str, written: str, note: str
) -> None:
    proposal = proposed(ScriptedEngine([f"ADD Plans: {written}"], scores=scores(keep=FAR)), turns(said))
    section = "Plans"
    assert proposal.operations == (Operation("add", section=section, text=note, sources=(1,), origin="stated"),)


@pytest.mark.parametrize("reply", ["", "NONE", "I like you, too.", "UPDATE 1: Likes mountain tea", "DELETE 1"])
def test_a_reply_that_is_no_note_loses_nothing_and_changes_no_line(reply: str) -> None:
    proposal = proposed(ScriptedEngine([reply], scores=scores(keep=FAR)), turns("I like mountain tea."), known("Tea"))
    assert short(proposal) == [("add", None, "I like mountain tea")]


@pytest.mark.parametrize("section", ["About", "Health"])
def test_how_to_be_answered_has_its_own_section_whatever_the_model_says(section: str) -> None:
    engine = ScriptedEngine([f"ADD {section}: Keep your answers short"], scores=scores(keep=FAR))
    (operation,) = proposed(engine, turns("Keep your answers short from now on.")).operations
    assert (operation.section, operation.text) == ("How to talk to me", "Keep your answers short")


def test_what_the_user_asks_to_remember_is_marked_so_whether_new_or_updated() -> None:
    said = turns("Remember that I live in York now.")
    for memory, kind in ((known(), "add"), (known("Lives in Leeds"), "update")):
        engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
        (operation,) = proposed(engine, said, memory).operations
        assert (operation.kind, operation.text, operation.origin) == (kind, "I live in York now", "asked")


def test_a_sentence_that_begins_with_she_tells_who_she_is_and_is_one_line() -> None:
    proposal = proposed(ScriptedEngine(["NONE"], scores=scores(keep=FAR)), turns("My sister Ana sings. She is deaf."))
    assert texts(proposal) == ["My sister Ana sings; She is deaf"]


def test_a_note_that_leaves_out_a_name_or_number_is_replaced_by_the_sentence() -> None:
    for said, note in (
        ("I'm Nuno, I live in Porto and teach maths.", "I live in Porto and teach maths"),
        ("I run 30 kilometres a week with my club.", "I run with my club every week"),
    ):
        engine = ScriptedEngine([f"ADD About: {note}"], scores=scores(keep=FAR))
        assert texts(proposed(engine, turns(said))) == [said.rstrip(".")]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("Forget my sister Ana's cancer.", id="asked to forget"),
        pytest.param(f"My sister Ana {'and her friend from the choir in town ' * 10}sing.", id="too long for a line"),
    ],
)
def test_nobody_knows_who_she_is_where_what_tells_it_may_not_or_cannot_be_in_the_line(before: str) -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR))
    said = turns(f"{before} She lives in my flat in Porto.", "I like tea.")
    assert [text for text in texts(proposed(engine, said)) if not text.startswith("My sister")] == ["I like tea"]


def test_what_is_said_twice_is_noted_once() -> None:
    engine = ScriptedEngine(noting, scores=scores(keep=FAR))
    assert texts(proposed(engine, turns("I like tea", "I like tea"))) == ["Likes tea"]


# Without the model's notes, as shipped ----------------------------------------------------------------------------

QUOTES = {"notes": 0.0}


def test_a_kept_sentence_becomes_a_line_as_it_was_said_and_nothing_is_generated() -> None:
    engine = ScriptedEngine(["ADD About: Something else"], scores=scores(keep=FAR))
    assert texts(proposed(engine, turns("well, I live in Bergen now."), thresholds=QUOTES)) == ["I live in Bergen now"]
    assert (engine.prompts, len(engine.scored)) == ([], 2 + len(SECTIONS) + 2)


@pytest.mark.parametrize(
    ("said", "task", "kept"),
    [
        pytest.param("I have a csv with all my sales.", 1.1, True, id="in doubt"),
        pytest.param("I have a csv with all my sales.", 1.3, False, id="a task"),
        pytest.param("And write the card so that my name is Ania.", -0.6, True, id="an order in doubt"),
        pytest.param("And write the card so that my name is Ania.", -0.4, False, id="an order"),
        pytest.param("Please keep your answers short.", FAR, True, id="how to be answered"),
        pytest.param("Remember that I want soup on Mondays.", FAR, True, id="asked to remember"),
    ],
)
def test_what_the_model_takes_for_a_task_makes_no_line(said: str, task: float, kept: bool) -> None:
    engine = ScriptedEngine(scores=lambda prompt, option: {"ADD": FAR, "TASK": task}.get(option, 0.0))
    assert bool(texts(proposed(engine, turns(said), thresholds=QUOTES))) == kept
    assert texts(proposed(engine, turns(said), thresholds={**QUOTES, "request": FAR * 2}))
    assert texts(proposed(engine, turns(said), thresholds=QUOTES, without=["requests"]))


def test_the_section_is_the_likeliest_one_unless_the_wording_tells() -> None:
    engine = ScriptedEngine(scores=lambda prompt, option: FAR if option.strip() in {"ADD", "Health"} else 0.0)
    said = turns("I take pills for my knee.", "I'm flying to Rome on 3 May 2030.", "Please keep your answers short.")
    found = proposed(engine, said, thresholds=QUOTES).operations
    assert [one.section for one in found] == ["Health", "Plans", "How to talk to me"]


@pytest.mark.parametrize(
    ("said", "others", "overtaken"),
    [
        pytest.param("I passed the test!", 1, True, id="no word in common"),
        pytest.param("I passed the test!", 9, True, id="among many lines"),
        pytest.param("I was on the piste all day.", 9, False, id="no word of change"),
        pytest.param("I was on the piste all day.", 1, False, id="no word of change, hardly anything to compare with"),
        pytest.param("I passed the test, and all is new!", 9, False, id="it makes every line likelier"),
        pytest.param("Dinner passed the test!", 9, False, id="not kept, so nothing would take its place"),
        pytest.param("Is it true that I passed the test?", 9, False, id="a question"),
    ],
)
def test_a_line_that_a_change_makes_likely_is_overtaken_whatever_its_words(
    said: str, others: int, overtaken: bool
) -> None:
    def likely(prompt: str, option: str) -> float:
        if option == "ADD":
            return FAR if last_message(prompt).startswith("I ") else -FAR
        said = last_message(prompt)
        if "Out of date" not in prompt or "all is new" in said:
            return 0.0
        return 0.0 if option == "Does not ski" and re.search("passed|piste", said) else -FAR

    memory = known("Does not ski", *(f"Has a dog called {name}" for name in "ABCDEFGHI"[:others]))
    found = proposed(ScriptedEngine(scores=likely), turns(said), memory, thresholds=QUOTES).operations
    went = [(one.kind, one.old_text) for one in found if one.kind != "add"]
    assert went == ([("update", "Does not ski")] if overtaken else [])
    without = proposed(ScriptedEngine(scores=likely), turns(said), memory, thresholds=QUOTES, without=["outdated"])
    assert all(one.kind == "add" for one in without.operations)


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("Write me a poem about my sister.", []),
        ("Tell me what to see in Tbilisi, my colleague is going.", []),
        ("Can you find a book for my son, who is six?", []),
        ("Write it as a list, I like lists.", ["I like lists"]),
        ("More potassium please.", []),
        ("Lustiger Name bitte!", []),
        ("I need ideas for a party on Saturday.", []),
        ("Please keep in mind that I'm vegan.", ["Please keep in mind that I'm vegan"]),
    ],
)
def test_a_task_is_no_line_where_it_does_not_say_who_the_user_is(said: str, lines: list[str]) -> None:
    engine = ScriptedEngine(scores=scores(keep=FAR))
    assert texts(proposed(engine, turns(said), thresholds=QUOTES)) == lines


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("I'm training for a race. Along the canals.", ["I'm training for a race; Along the canals"]),
        ("I'm training for a race. The 11th of May.", ["I'm training for a race; The 11th of May 2027"]),
        ("My sister sings. In a choir, on Fridays.", ["My sister sings; In a choir, on Fridays"]),
        ("My sister sings. I live in Leiden.", ["My sister sings", "I live in Leiden"]),
        ("The town has a choir. Every Friday, in the church.", ["The town has a choir", "Every Friday, in the church"]),
    ],
)
def test_what_only_goes_on_with_what_was_said_stands_behind_it(said: str, lines: list[str]) -> None:
    engine = ScriptedEngine(scores=scores(keep=FAR))
    assert texts(proposed(engine, turns(said), thresholds=QUOTES)) == lines


# Which sentences are kept ----------------------------------------------------------------------------------------


TOLD = [f"I like the {number}th hill behind our old house with the apple trees." for number in range(60)]


@pytest.mark.parametrize(("held", "least", "most"), [(0, 55, 60), (2000, 25, 35)])
def test_a_chat_may_write_what_is_free_of_the_budget_or_a_quarter_of_it(held: int, least: int, most: int) -> None:
    full = known(*(["A long line about hills and apples"] * (held // 8)))
    said = turns(*TOLD[:-1], "Remember that I own a green kayak.")
    lines = texts(proposed(ScriptedEngine([], scores=scores(keep=FAR)), said, full, thresholds={"notes": 0.0}))
    assert least <= len(lines) <= most
    assert "I own a green kayak" in lines


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("Where should I live in Porto?", id="question"),
        pytest.param("wo wohne ich noch mal?", id="German question"),
        pytest.param("¿Dónde vive mi hermana?", id="Spanish question"),
        pytest.param("Où habite ma sœur ?", id="French question"),
        pytest.param('Translate "I am a nurse and live in Bergen."', id="quotation"),
        pytest.param("    I live in Bergen now", id="code"),
        pytest.param("```\nI live in Bergen now\n```", id="fenced code"),
        pytest.param("Suppose I lived in Bergen.", id="hypothetical"),
        pytest.param("If I were a nurse, I'd live in Bergen.", id="wish"),
        pytest.param("Angenommen, ich wohne in Bergen.", id="German hypothetical"),
        pytest.param("You are a pirate and I am your parrot. I live in a cage. My wife is green.", id="role play"),
        pytest.param("Du bist jetzt ein Pirat und ich bin dein Papagei. Ich wohne im Käfig.", id="German role play"),
        pytest.param("Please forget that I live in Bergen.", id="forget request"),
    ],
)
def test_what_is_asked_quoted_or_imagined_never_becomes_a_line_however_sure_the_model_is(said: str) -> None:
    engine = ScriptedEngine([f"ADD About: {said}"], scores=scores(keep=FAR))
    assert proposed(engine, turns(said)).operations == ()
    assert engine.prompts == []


def test_nothing_of_a_text_to_work_on_becomes_a_line() -> None:
    said = "Shorten this:\nI am a nurse and I live in Bergen.\nMy dog is called Rolf."
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR))
    assert set(texts(proposed(engine, turns(said)))) <= {"Shorten this"}
    assert {last_message(prompt) for prompt in engine.prompts} <= {"Shorten this:"}


def test_role_play_goes_on_to_the_end_of_the_chat() -> None:
    said = turns("I live in Bergen.", "You are a pirate and I am your parrot.", "I live in a cage.")
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR))
    assert texts(proposed(engine, said)) == ["I live in Bergen"]


@pytest.mark.parametrize(
    ("keep", "thresholds", "kept"),
    [
        (0.0, {}, True),
        (-FAR, {}, False),
        (FAR, {}, True),
        (0.0, {"keep": FAR}, False),
        (-FAR, {"keep": -FAR}, True),
        (-FAR, {"trust": 0.0}, True),
    ],
)
def test_wording_and_model_decide_together_and_a_card_may_weigh_them(
    keep: float, thresholds: dict[str, float], kept: bool
) -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=keep))
    proposal = proposed(engine, turns("I live in Bergen with my wife."), thresholds=thresholds)
    assert texts(proposal) == (["I live in Bergen with my wife"] if kept else [])


def test_nothing_is_asked_about_a_chat_without_a_sentence() -> None:
    engine = ScriptedEngine()
    proposal = proposed(engine, turns("ok", "```\nx = 1\n```"), known("Lives in Leeds"))
    assert (proposal.operations, proposal.stats.prompt_tokens, engine.prompts, engine.scored) == ((), 0, [], [])


# Lines that no longer hold ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "changed", "done"),
    [
        (FAR, FAR, [("update", 1, "I've moved to York now")]),
        (-FAR, FAR, [("delete", 1, "")]),
        (FAR, -FAR, [("add", None, "I've moved to York now")]),
        (-FAR, -FAR, []),
    ],
)
def test_a_line_that_is_overtaken_is_updated_where_the_sentence_is_kept_else_deleted(
    keep: float, changed: float, done: list[tuple[str, int | None, str]]
) -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=keep, changed=changed))
    memory = known("Lives in Leeds", "Plays the cello")
    assert short(proposed(engine, turns("I've moved to York now."), memory)) == done


def test_of_two_lines_that_one_sentence_overtakes_one_is_updated_and_the_other_deleted() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
    proposal = proposed(engine, turns("I've moved to York now."), known("Lives in Leeds", "Has a flat in Leeds"))
    assert sorted(operation.kind for operation in proposal.operations) == ["delete", "update"]
    assert {operation.line_id for operation in proposal.operations} == {1, 2}


def test_how_sure_the_model_must_be_of_a_change_is_a_cards_to_say() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=2.0))
    said, memory = turns("I've moved to York now."), known("Lives in Leeds")
    assert proposed(engine, said, memory).operations[0].kind == "update"
    assert proposed(engine, said, memory, thresholds={"changed": 3.0}).operations[0].kind == "add"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("I live in a nice street.", id="no word of change"),
        pytest.param("I've sold the piano now.", id="about something else"),
        pytest.param("Suppose I've moved to York now.", id="imagined"),
        pytest.param('Fix this: "I\'ve moved to York now."', id="quoted"),
    ],
)
def test_a_line_is_not_even_looked_at_where_nothing_says_that_it_changed(said: str) -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(changed=FAR))
    assert all(one.kind == "add" for one in proposed(engine, turns(said), known("Lives in Leeds")).operations)
    assert not any("Note: Lives in Leeds" in prompt for prompt in engine.scored)


@pytest.mark.parametrize(
    "said",
    [
        "Please forget what I said about my psychologist.",
        "Delete everything about the psychologist!",
        "Vergiss bitte meine Psychologin.",
        "Oublie ma psychologue, s'il te plaît.",
    ],
)
def test_a_request_to_forget_deletes_the_line_and_is_itself_not_stored(said: str) -> None:
    engine = ScriptedEngine([f"ADD Health: {said}"], scores=scores(keep=FAR, changed=FAR))
    memory = known("Plays the cello", "Psychologist in Hill Road")
    proposal = proposed(engine, turns(said), memory)
    assert short(proposal) == [("delete", 2, "")]
    assert proposal.operations[0].sources == (1,)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("Please don't forget that I'm allergic to nuts."),
        pytest.param("No olvides que soy alérgica a las nueces."),
        "Vergiss nicht, dass ich gegen Nüsse allergisch bin.",
        "N'oublie pas que je suis allergique aux noix.",
    ],
)
def test_a_request_not_to_forget_is_none_to_forget(said: str) -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
    (operation,) = proposed(engine, turns(said), known("Allergic to nuts")).operations
    assert operation.kind in ("add", "update")  # an update says the same line anew
    assert re.search("all?[eé]rgi", operation.text)


def test_a_line_said_anew_is_replaced_only_by_a_sentence_that_is_kept() -> None:
    said = turns("Choir practice is on Thursdays.")
    memory = known("Choir practice on Mondays", "Sings in the church")
    kept = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
    assert short(proposed(kept, said, memory)) == [("update", 1, "Choir practice is on Thursdays")]
    left = ScriptedEngine(["NONE"], scores=scores(keep=-FAR, changed=FAR))
    assert short(proposed(left, said, memory)) == []


def test_a_word_in_common_is_not_the_same_thing() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
    said = turns("I'll book a place that takes the walnut thing seriously.")
    assert [one.kind for one in proposed(engine, said, known("I'm allergic to walnuts")).operations] == ["add"]


def test_protected_lines_are_never_put_to_the_question() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR, changed=FAR))
    memory = known("Lives in Leeds", pinned="Lives in Leeds", prose="I live in Leeds and like it.")
    proposal = proposed(engine, turns("I've moved to York now. Forget that I live in Leeds."), memory)
    assert short(proposal) == [("add", None, "I've moved to York now")]
    assert not any("Note: " in last_message(prompt) for prompt in engine.scored)


def test_a_pasted_text_is_not_shown_again_for_every_line_it_may_be_about() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(changed=FAR))
    said = turns(f"{'pasted ' * 2000}\nMy tea is over now.")
    assert short(proposed(engine, said, known("Drinks tea")))[0][:2] == ("update", 1)
    assert not any("pasted" in prompt for prompt in engine.scored)


# What a model is shown -------------------------------------------------------------------------------------------


def test_only_what_the_user_said_is_shown() -> None:
    engine = ScriptedEngine(noting, scores=scores(keep=FAR, changed=FAR))
    said = turns("I like tea now", "I've moved to York now.")
    said.insert(1, Turn(9, 1, "assistant", "You seem to love ASSISTANT-WORDS", SAID))
    proposed(engine, said, known("Lives in Leeds", "Drinks tea"))
    assert any("Note: Lives in Leeds" in prompt for prompt in engine.scored)
    assert not any("ASSISTANT-WORDS" in prompt for prompt in engine.scored + engine.prompts)


def test_each_sentence_is_judged_without_the_other_ones() -> None:
    engine = ScriptedEngine(["NONE"], scores=scores(keep=FAR))
    proposed(engine, turns("I like tea. My sister sings.", "I live in Bergen."))
    for prompt in engine.scored + engine.prompts:
        assert sum(text in prompt for text in ("I like tea", "My sister sings", "I live in Bergen")) == 1


def test_an_update_can_be_stopped_while_sentences_are_judged() -> None:
    engine = ScriptedEngine()
    said = turns(" ".join(f"I like thing{number} a lot." for number in range(100)))
    with pytest.raises(Cancelled):
        proposed(engine, said, cancelled=lambda: bool(engine.scored))
    assert 0 < len(engine.scored) < 2 * 100
    assert engine.prompts == []


# Steps left out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "step", "message"),
    [
        ("edits", "magic", "edits has no step 'magic'"),
        ("edits", "Notes", "edits has no step 'Notes'"),
        ("edits", "notes", "edits has no step 'notes'"),
        ("overwrite", "changes", "overwrite has no step 'changes'"),
    ],
)
def test_a_step_that_the_policy_does_not_have_is_an_error(policy: str, step: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        open_policy(policy, without=["changes", step] if policy == "edits" else [step])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("step", "done"),
    [
        ("", [("update", 1, "Moved to York now")]),
        ("changes", [("add", None, "Moved to York now")]),
        ("model", [("update", 1, "Moved to York now")]),
        ("wording", [("update", 1, "Moved to York now")]),
        ("requests", [("update", 1, "Moved to York now")]),
    ],
)
def test_each_step_can_be_left_out(step: str, done: list[tuple[str, int | None, str]]) -> None:
    engine = ScriptedEngine(["ADD About: Moved to York now"], scores=scores(keep=1.0, changed=FAR))
    said, memory = turns("I've moved to York now."), known("Lives in Leeds")
    assert short(proposed(engine, said, memory, without={step} - {""})) == done
    assert engine.prompts
    asked = {(NOTES in prompt, last_message(prompt).partition(":")[0]) for prompt in engine.scored}
    assert ("Note" in {text for _, text in asked}) == (step != "changes")
    assert ((True, "I've moved to York now.") in asked) == (step != "model")
    assert ((False, "I've moved to York now.") in asked) == (step != "requests")


# Examples that are computed once ---------------------------------------------------------------------------------


def learned(cache: Path | None, name: str = "scripted") -> tuple[int, list[str]]:
    """Tokens that an update by a newly started engine had to read, and what it proposed."""
    engine = ScriptedEngine(["NONE"], name=name, scores=scores(keep=FAR, changed=FAR))
    proposal = proposed(engine, turns("I've moved to York now."), known("Lives in Leeds"), cache=cache)
    return proposal.stats.prompt_tokens - proposal.stats.cached_tokens, texts(proposal)


def examples() -> int:
    engine = ScriptedEngine()
    prompts = load_prompts()
    chats = (prompts.edits(), prompts.requests(), prompts.changes())
    return sum(len(engine.render(chat[:-1])) + engine.count(chat[-1].content) for chat in chats)


def test_the_examples_are_read_once_and_then_loaded(tmp_path: Path) -> None:
    cache = tmp_path / "kv" / "prompts"
    first, done = learned(cache)
    written = {path: path.stat().st_ino for path in cache.iterdir()}
    assert len(written) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written)
    assert learned(cache) == (first - examples(), done)
    assert {path: path.stat().st_ino for path in cache.iterdir()} == written
    assert learned(None) == (first, done)


def test_another_model_does_not_load_them(tmp_path: Path) -> None:
    first, _ = learned(tmp_path)
    assert learned(tmp_path, "other")[0] == first
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("damage", [b"", b"EMKV0001", b"garbage " * 500], ids=["empty", "cut", "garbage"])
def test_a_damaged_file_of_them_is_ignored_and_written_again(tmp_path: Path, damage: bytes) -> None:
    first, done = learned(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(damage)
    assert learned(tmp_path) == (first, done)
    assert learned(tmp_path) == (first - examples(), done)


def test_a_changed_byte_in_a_file_of_them_is_noticed(tmp_path: Path) -> None:
    first, done = learned(tmp_path)
    for path in tmp_path.iterdir():
        raw = bytearray(path.read_bytes())
        raw[-100] ^= 1
        path.write_bytes(raw)
    assert learned(tmp_path) == (first, done)


def test_an_update_needs_no_place_to_keep_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert learned(tmp_path / "file" / "kv") == learned(None)


def test_a_real_model_judges_the_same_after_loading_them(tmp_path: Path, smollm2_path: Path) -> None:
    from edgemem.engines import open_engine

    found = []
    for _ in range(2):
        engine = open_engine(smollm2_path, context_tokens=2048)
        said = turns("I've moved to York now. My sister Ana is a vet.")
        proposal = proposed(engine, said, known("Lives in Leeds"), cache=tmp_path)
        found.append((proposal.operations, proposal.stats.prompt_tokens - proposal.stats.cached_tokens))
        engine.close()
    (first, cold), (second, warm) = found
    assert first == second
    assert warm < 400 < cold
    assert len(list(tmp_path.iterdir())) == 4
