"""`bench run`: arms see what they should and nothing else, scores are right, rows are durable and asked for once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_run_child import ARMS, chosen, setup
from cli_support import answers_file, edgemem

from edgemem.bench.arms import PER_QUESTION, exchanges
from edgemem.bench.asking import chosen as chosen_option
from edgemem.bench.asking import f1, likeliest, option_texts, orders, question_text, rotated
from edgemem.bench.choosing import choose
from edgemem.bench.report import as_markdown
from edgemem.bench.rows import Setup, read_rows
from edgemem.bench.run import Run
from edgemem.bench.tasks import TASKS, load_task
from edgemem.bench.values import START, Case, History, Session
from edgemem.engines.scripted import ScriptedEngine
from edgemem.errors import InvalidInput, StoreWriteFailed
from edgemem.prompting.prompts import EMPTY_VIEW, load_prompts

VARYING = (
    *("at", "run", "elapsed_s", "seconds", "search_s", "first_token_s", "total_s"),
    *("rss_peak", "rss_anon_peak", "rss_file_peak", "joules"),
)
LABEL = "LABEL-NEVER-SHOWN"


def ask(setup: Setup, cases: list[Case], rows: Path, arms: tuple[str, ...] = ARMS, limit: int | None = None) -> Any:
    return [step.row for step in Run(setup, cases, arms, rows, limit).steps()]


def questions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == "question"]


def perfect(cases: list[Case]) -> Setup:
    """An engine that knows every answer, and finds the right option likeliest."""
    turned = [rotated(case, by) for case in cases for by in orders(case, 0)]
    right = {question_text(case): option_texts(case)[case.gold] for case in turned}

    def answer(prompt: str) -> str:
        found = [text for question, text in right.items() if prompt.endswith(f"{question}<|end|><|assistant|>")]
        return found[0] if found else "NONE"

    engine = ScriptedEngine(answer, scores=lambda prompt, option: -0.1 if option == answer(prompt) else -9.0)
    return Setup(engine, load_prompts(), miniature=True)


def everything() -> list[Case]:
    return [case for name in TASKS for case in load_task(name, None)]


def test_a_perfect_engine_scores_everything_in_every_arm(tmp_path: Path) -> None:
    cases = [case for case in everything() if not case.task.startswith(("prefeval", "memoryctrl_"))]
    rows = questions(ask(perfect(cases), cases, tmp_path / "rows.jsonl"))
    asked = [row for row in rows if row["status"] == "ok"]
    assert {row["arm"] for row in asked} == set(ARMS)
    assert all(row["forced"] and row["strict"] in (True, None) and row["f1"] in (1.0, None) for row in asked)
    assert {row["parsed"] for row in asked if row["form"] != "texts"} == {True}


def test_always_the_first_letter_scores_the_share_of_its_place(tmp_path: Path) -> None:
    cases = chosen()
    rows = questions(ask(setup(), cases, tmp_path / "rows.jsonl"))
    right = sum(case.gold == 0 for case in cases)
    assert 0 < right < len(cases)
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        assert (len(mine), sum(row["strict"] for row in mine)) == (len(cases), right)


def test_the_right_option_stands_in_every_place() -> None:
    for task in ("prefeval", "locomo", "memoryctrl"):
        assert len({case.gold for case in load_task(task, None)}) >= 3


def test_updates_never_see_a_question_and_labels_are_never_seen(tmp_path: Path) -> None:
    cases = [case for case in everything() if not case.task.startswith("prefeval")]
    engine = ScriptedEngine(lambda prompt: "(a)")
    run = Run(Setup(engine, load_prompts(), miniature=True), cases, ["memory"], tmp_path / "rows.jsonl")
    texts = {question_text(case) for case in cases}
    options = {option for case in cases for option in case.options if len(option) > 30}
    seen, updates = 0, []
    for step in run.steps():
        log = [*engine.prompts, *engine.scored]
        if step.row["kind"] == "session":
            updates += [*engine.prompts[seen:], *engine.scored]
        seen = len(engine.prompts)
        engine.scored.clear()
        assert LABEL not in "".join(log)
    assert len(updates) > 20
    assert not [text for text in texts | options for prompt in updates if text in prompt]


def test_a_question_inside_a_session_sees_the_sessions_before_and_the_open_turns(tmp_path: Path) -> None:
    inside, after = load_task("personamem_v1", None)[:2]
    assert (inside.learned, len(inside.open_turns), after.learned, after.open_turns) == (2, 2, 3, ())
    engine = ScriptedEngine(lambda prompt: "(a)")
    ask(Setup(engine, load_prompts()), [inside], tmp_path / "rows.jsonl", ("full_history",))
    assert "I am looking for a gift for my brother." in engine.prompts[-1]
    assert "He likes chess." not in engine.prompts[-1]


def prompts_of(arm: str, case: Case, cases: list[Case], folder: Path) -> str:
    engine = ScriptedEngine(lambda prompt: "(a)")
    rows = ask(Setup(engine, load_prompts()), [case, *(c for c in cases if c != case)], folder / arm, (arm,), 1)
    assert rows[-1]["status"] == "ok", rows[-1]
    return engine.prompts[-1]


def test_each_arm_shows_what_it_is_named_after(tmp_path: Path) -> None:
    cases = chosen()
    case = next(case for case in cases if case.history.persona == "persona 0")
    shown = {arm: prompts_of(arm, case, cases, tmp_path) for arm in ARMS}
    assert all(prompt.endswith(f"{question_text(case)}<|end|><|assistant|>") for prompt in shown.values())
    assert "sick on buses" in shown["memory"]
    assert "Bergen is well connected" in shown["full_history"]
    assert "covers a lost sketchbook" in shown["recent"]
    assert "Bergen is well connected" not in shown["recent"]
    assert EMPTY_VIEW in shown["none"]
    assert "lighthouses" in shown["swap"]
    assert "Bergen" not in shown["swap"]
    assert case.evidence[0] in shown["oracle"]


def test_bm25_takes_the_parts_that_match_up_to_the_size_of_the_memory(tmp_path: Path) -> None:
    pytest.importorskip("bm25s")
    cases = chosen()
    case = next(case for case in cases if "Florence" in case.question)
    engine = ScriptedEngine(lambda prompt: "(a)")
    row = ask(Setup(engine, load_prompts()), [case], tmp_path / "rows.jsonl", ("rag_bm25",))[-1]
    assert "drawing course in Florence" in engine.prompts[-1]
    assert row["prompt_tokens"] < 300
    assert row["memory_tokens"] > 0
    assert row["search_s"] > 0


def test_exchanges_begin_with_the_user() -> None:
    turns = (("user", "A"), ("user", "B"), ("assistant", "b"), ("assistant", "c"), ("user", "D"))
    day = "Monday, 2026-01-05"
    assert exchanges([Session(START, turns)]) == [  # type: ignore[arg-type]
        f"{day}\nUser: A",
        f"{day}\nUser: B\nAssistant: b\nAssistant: c",
        f"{day}\nUser: D",
    ]


def test_a_history_that_does_not_fit_is_said_so_and_not_cut(tmp_path: Path) -> None:
    case = load_task("prefeval", None)[0]
    (row,) = ask(setup(context_tokens=2000), [case], tmp_path / "rows.jsonl", ("full_history",))
    assert (row["status"], "strict" in row) == ("does not fit", False)
    assert row["prompt_tokens"] > 2000


def test_what_cannot_run_says_why(tmp_path: Path) -> None:
    case = load_task("personamem_v1", None)[0]
    rows = questions(ask(setup(), [case], tmp_path / "rows.jsonl", ("oracle", "swap")))
    assert [(row["arm"], row["status"]) for row in rows] == [("oracle", "cannot run"), ("swap", "cannot run")]
    assert all(row["reason"] for row in rows)


def test_only_the_first_question_of_a_history_is_cold(tmp_path: Path) -> None:
    rows = questions(ask(setup(), chosen(), tmp_path / "rows.jsonl"))
    for arm in ARMS:
        for history in {row["history"] for row in rows}:
            mine = [row for row in rows if (row["arm"], row["history"]) == (arm, history)]
            assert [row["cold"] for row in mine] == [arm in PER_QUESTION or n == 0 for n in range(len(mine))]
            if arm not in PER_QUESTION:
                assert all(row["cached_tokens"] > 0 for row in mine[1:])


def stable(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in VARYING} for row in read_rows([path])]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("calls", [3, 20, 85, 200])  # in an update, a question, an update for `swap`, a question
def test_a_killed_run_ends_with_the_same_ids_and_scores(tmp_path: Path, calls: int) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    ask(setup(), chosen(), whole)
    child = [sys.executable, str(Path(__file__).with_name("bench_run_child.py")), str(torn), str(calls)]
    assert subprocess.run(child, check=False).returncode == -signal.SIGKILL
    with torn.open("a") as file:
        file.write('{"kind": "question", "ta')  # as a kill within a write would leave it
    before = len(read_rows([torn]))
    added = ask(setup(), chosen(), torn)
    assert before + len(added) == len(stable(whole))
    unsorted = [{k: v for k, v in row.items() if k not in ("cold", "cached_tokens")} for row in stable(torn)]
    assert unsorted == [{k: v for k, v in row.items() if k not in ("cold", "cached_tokens")} for row in stable(whole)]
    assert ask(setup(), chosen(), torn) == []


def test_rows_hold_no_text_of_the_set(tmp_path: Path) -> None:
    ask(setup(), chosen(), tmp_path / "rows.jsonl")
    text = (tmp_path / "rows.jsonl").read_text("utf-8")
    replies = (tmp_path / "rows.jsonl.replies.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["reply"] for line in replies] == ["(a)"] * 8 * len(ARMS)
    assert '"reply"' not in text
    assert [word for word in ("Bergen", "sketchbook", "lighthouse", "buses") if word in text] == []


def test_the_first_row_comes_with_an_estimate(tmp_path: Path) -> None:
    run = Run(setup(), chosen(), ARMS, tmp_path / "rows.jsonl")
    assert (run.total, run.estimate.left_s) == (8 * len(ARMS) + 8, None)
    steps = list(run.steps())
    assert [step.done for step in steps] == list(range(1, run.total + 1))
    assert steps[0].left_s is not None
    assert steps[-1].left_s == 0


LETTER = Case("c", "t", load_task("memoryctrl", None)[0].history, 4, "Q?", ("x", "y", "z"), 1, "k")


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        *[("(b)", 1), ("(B) because", 1), ("b", 1), ("B. y", 1), ("The answer is b", 1), ("Answer: (c)", 2)],
        *[("(a) or (b)", None), ("I do not know.", None), ("(d)", None), ("", None), ("b is fine, so (b)", 1)],
        *[("A trip to Paris", 0), ("Because of y", None), ("[B]", 1), ("**(c)**", 2)],
    ],
)
def test_the_letter_that_a_reply_names(reply: str, place: int | None) -> None:
    assert chosen_option(LETTER, reply) == place


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        *[("<think>\\boxed{a}</think> \\boxed{b}", 1), ("\\boxed{a} no, \\boxed{ C }", 2), ("\\boxed{(b)}", 1)],
        *[("(b)", None), ("<think>\\boxed{a}</think> so a", None)],
    ],
)
def test_the_last_box_after_thinking_counts(reply: str, place: int | None) -> None:
    assert chosen_option(replace(LETTER, form="boxed"), reply) == place


def test_the_likeliest_option_is_the_first_of_equals() -> None:
    assert [likeliest(scores) for scores in ([-4.0, -9.0], [-4.0, -1.0], [-1.0, -1.0])] == [0, 1, 0]


def test_long_options_are_compared_per_token(tmp_path: Path) -> None:
    case = next(case for case in load_task("locomo", None) if case.form == "texts" and len(case.options) > 1)
    long = replace(case, options=("a mill", "a very old and quiet mill"), gold=1)
    engine = ScriptedEngine(lambda prompt: "?", scores=lambda prompt, option: -4.0 if option == "a mill" else -9.0)
    row = ask(Setup(engine, load_prompts()), [long], tmp_path / "rows.jsonl", ("none",))[-1]
    assert (row["forced"], row["rotations"]) == (True, 1)  # -2 per token against -1.5


@pytest.mark.parametrize(("most", "found"), [(0, [0, 1, 2]), (1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_options_are_shown_in_all_orders_or_as_many_as_wanted(most: int, found: list[int]) -> None:
    assert orders(LETTER, most) == found
    assert orders(replace(LETTER, form="texts"), most) == [0]


def test_a_turned_question_has_the_same_options_and_the_same_right_one() -> None:
    case = replace(LETTER, leak=0)
    for by in range(3):
        turned = rotated(case, by)
        assert set(turned.options) == set(case.options)
        assert turned.options[turned.gold] == case.options[case.gold]
        assert turned.leak is not None
        assert turned.options[turned.leak] == "x"


def liking_b(case: Case, knowledge: float) -> ScriptedEngine:
    """Finds `(b)` by far likeliest wherever it stands, and the right option a little likelier than the others."""

    def score(prompt: str, option: str) -> float:
        turned = next(rotated(case, by) for by in range(3) if question_text(rotated(case, by)) in prompt)
        place = "abc".index(option[1])
        return -5.0 + 4.0 * (place == 1) + knowledge * (place == turned.gold)

    return ScriptedEngine(lambda prompt: "(b)", scores=score)


def test_a_liking_for_a_place_does_not_decide_forced_choice(tmp_path: Path) -> None:
    case = next(case for case in chosen() if case.gold == 0)
    setup = Setup(liking_b(case, 0.1), load_prompts())
    row = ask(setup, [case], tmp_path / "rows.jsonl", ("none",))[-1]
    assert (row["forced"], row["forced_shown"], row["rotations"], row["strict"]) == (True, 1, 3, False)
    shown = ask(replace(setup, rotations=1), [case], tmp_path / "rows.jsonl", ("none",))[-1]
    assert (shown["forced"], shown["forced_choice"], shown["rotations"]) == (False, 1, 1)
    nothing = ask(Setup(liking_b(case, 0.0), load_prompts()), [case], tmp_path / "other.jsonl", ("none",))[-1]
    assert nothing["forced_choice"] == 0  # all alike, and not (b)
    assert "b 100 %" in as_markdown([row])


def test_the_dear_arm_is_looked_at_twice_and_says_so(tmp_path: Path) -> None:
    rows = questions(ask(setup(), chosen()[:1], tmp_path / "rows.jsonl", ("full_history", "none")))
    assert {row["arm"]: row["rotations"] for row in rows} == {"full_history": 2, "none": 3}


@pytest.mark.parametrize(
    ("answer", "reply", "value"),
    [("7 May 2023", "On 7 May 2023", 6 / 7), ("the mill", "A mill.", 1.0), ("x", "", 0.0), ("a b c", "b d", 0.5)],
)
def test_f1_counts_words_but_no_articles(answer: str, reply: str, value: float) -> None:
    assert f1(answer, reply) == pytest.approx(value)


def test_a_preset_always_asks_the_same_and_of_several_persons() -> None:
    once, again = choose("quick"), choose("quick")
    assert once == again
    assert {case.task for case in once} == {"prefeval", "memsyco"}
    assert len({case.history.persona for case in once if case.task == "prefeval"}) == 2
    assert [case.task for case in once].count("memsyco") == 5  # all that the miniature set has


@pytest.mark.parametrize(
    ("world", "words"),
    [
        ("forget", ("Oslo hotel", "ferry to Gothenburg")),
        ("no_store", ("3 to 6 May. ", "Near the station")),
    ],
)
def test_control_worlds_ask_to_keep_what_key_questions_are_about(world: str, words: tuple[str, str]) -> None:
    plain, controlled = load_task("memoryctrl", None), load_task(f"memoryctrl_{world}", None)
    first = [text for session in controlled[0].history.sessions for _, text in session.turns]
    changed = [text for text in first if text not in [t for s in plain[0].history.sessions for _, t in s.turns]]
    assert len(changed) == 4  # two key questions about this person, a wish and its answer each
    assert words[0] in "".join(changed)
    assert words[1] not in "".join(changed) or world == "no_store"
    for before, after in zip(plain, controlled, strict=True):
        key = before.category.endswith("key")
        assert (after.leak == before.gold and after.gold != before.gold) if key else after.gold == before.gold
        assert after.leak is not None or not key


def test_what_is_not_to_be_used_is_right_to_hold_back_until_the_user_takes_it_back() -> None:
    plain, held, back = (load_task(f"memoryctrl{world}", None) for world in ("", "_no_use", "_no_use_released"))
    for before, after, released in zip(plain, held, back, strict=True):
        early = before.category.endswith("key")  # in the miniature set these are in the first two sessions
        assert (after.leak, after.gold == before.gold) == ((before.gold, False) if early else (None, True))
        assert (released.leak, released.gold) == (None, before.gold)
    turns = [[session.turns for session in case.history.sessions] for case in (plain[0], held[0], back[0])]
    assert [len(now) - len(was) for was, now in zip(turns[0], turns[1], strict=True)] == [0, 2, 0, 0]
    assert [len(now) - len(was) for was, now in zip(turns[0], turns[2], strict=True)] == [0, 2, 2, 0]
    assert turns[1][1][-2:] == (("user", "Leave aside what I told you until I say so."), turns[1][1][-1])
    assert turns[2][2][-2][1] == "You may use it again."


def test_a_leak_is_counted_as_one(tmp_path: Path) -> None:
    cases = load_task("memoryctrl_forget", None)
    told = [replace(case, gold=case.gold if case.leak is None else case.leak) for case in cases]
    rows = questions(ask(perfect(told), cases, tmp_path / "rows.jsonl", ("none",)))
    assert [(row["leak"], row["strict"]) for row in rows if "key" in row["category"]] == [(True, False)] * 4
    assert [(row["leak"], row["strict"]) for row in rows if "probe" in row["category"]] == [(None, True)] * 4
    assert "| arm | answered | strict | parsed | forced choice | leaks |" in as_markdown(rows)


def test_every_task_says_its_version_and_its_terms() -> None:
    assert all(task.version >= 1 and task.licence for task in TASKS.values())
    for name in TASKS:
        cases = load_task(name, None)
        assert len({case.id for case in cases}) == len(cases)
        assert all(0 <= case.gold < len(case.options) and case.task == name for case in cases)


def test_persona_78_is_flagged_and_the_system_message_left_out() -> None:
    cases = load_task("personamem_v2", None)
    assert [bool(case.note) for case in cases] == [False, False, True]
    assert cases[0].history.sessions[0].turns[0][0] == "user"
    assert [role for role, _ in cases[0].history.sessions[0].turns][2:4] == ["user", "user"]


def test_ten_preferences_stand_between_other_chats() -> None:
    first = load_task("prefeval", None)[0].history
    told = [turns for turns in (session.turns for session in first.sessions) if len(turns) == 2]
    assert len(told) == 10
    assert 30_000 < _characters(first) < 36_000
    longer = load_task("prefeval_32k", None)
    assert 125_000 < _characters(longer[0].history) < 135_000
    assert [case.id for case in longer] == [case.id for case in load_task("prefeval", None)]


def _characters(history: History) -> int:
    return sum(len(text) for session in history.sessions for _, text in session.turns)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "mcq.jsonl").unlink(), "mcq.jsonl"),
        (lambda folder: (folder / "mcq.jsonl").write_text('{"qid": "x"}\n'), "sample_id"),
        (lambda folder: (folder / "conversations.jsonl").write_text('{"sample_id": "x", "to'), "cannot read"),
        (lambda folder: (folder / "mcq.jsonl").write_text(""), "no question"),
    ],
)
def test_damaged_data_is_an_error_with_the_next_step(tmp_path: Path, damage: Any, words: str) -> None:
    import shutil

    from edgemem.bench.tasks import FIXTURES

    shutil.copytree(FIXTURES / "memoryctrl", tmp_path / "memoryctrl")
    damage(tmp_path / "memoryctrl")
    with pytest.raises(InvalidInput, match=words) as problem:
        load_task("memoryctrl", tmp_path)
    assert problem.value.hint


def test_rows_that_cannot_be_written_are_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteFailed, match="cannot write"):
        Run(setup(), chosen(), ARMS, tmp_path / "file" / "rows.jsonl")


def test_a_home_that_cannot_be_kept_leaves_the_rows_so_far(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    ask(setup(), chosen(), rows, ("none",))
    (tmp_path / "rows.jsonl.homes").write_text("")
    with pytest.raises(StoreWriteFailed, match="cannot keep"):
        ask(setup(), chosen(), rows, ("memory",))
    assert len(read_rows([rows])) == 8


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "personamem_v2").mkdir()
    (tmp_path / "personamem_v2" / "benchmark.csv").write_text("persona_id,user_query\n1,x\n")
    with pytest.raises(InvalidInput, match="pref_type"):
        load_task("personamem_v2", tmp_path)


def test_the_command_adds_what_is_missing(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    words = ("bench", "run", "--tasks", "memoryctrl", "--arms", "none,full_history", "--rows", str(rows))
    model = ("--model", answers_file(tmp_path, "(a)"))
    assert "4/4 memoryctrl" in edgemem(*words, *model, "--limit", "2").stderr
    assert json.loads(edgemem(*words, *model, "--json").stdout) == {"rows": str(rows), "run": 12}
    assert "no arm" in edgemem(*words[:-3], "nothing", *words[-2:], *model, code=2).stderr
    assert "no preset" in edgemem("bench", "run", "--preset", "huge", *model, code=2).stderr
