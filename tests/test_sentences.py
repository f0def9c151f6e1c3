"""A message becomes sentences, each with what its wording tells, in four languages."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from edgemem.memory.sentences import MAX_CHARS, Sentence, sentences_of, with_subject
from edgemem.memory.splitting import split
from edgemem.values import Turn

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOSTILE = [
    *("a", " ", "\n", ".", '"', "`", "```\n", "a. ", "1. a ", "e.g. ", "Dr. ", "and, ", "and ", "you are a ", "a-"),
    *("forget me, ", "¿", ": ", "\t", "don't forget ", "She is. "),
]


def of(*texts: str) -> list[Sentence]:
    turns = [Turn(at, 1, "user", text, NOW) for at, text in enumerate(texts, 1)]
    return sentences_of(turns)


def one(text: str) -> Sentence:
    (found,) = of(text)
    return found


SPLITS = [
    ("I row. She sails!", ["I row.", "She sails!"]),
    ("no marks here at all", ["no marks here at all"]),
    ("Mr. Abel and Dr. Roth live here. I do not.", ["Mr. Abel and Dr. Roth live here.", "I do not."]),
    ("Use salt, e.g. from the sea. Thanks.", ["Use salt, e.g. from the sea.", "Thanks."]),
    ("It costs 3.50 and weighs 1.2 kg. Fine.", ["It costs 3.50 and weighs 1.2 kg.", "Fine."]),
    ("Well... I moved. Then… nothing.", ["Well...", "I moved.", "Then… nothing."]),
    ("It is on the 3rd... no, the 4th.", ["It is on the 3rd... no, the 4th."]),
    ("Ich ziehe am 3. Mai um. Endlich.", ["Ich ziehe am 3. Mai um.", "Endlich."]),
    ("Das dauert ca. zwei Tage bzw. drei. Gut.", ["Das dauert ca. zwei Tage bzw. drei.", "Gut."]),
    ("La Sra. Pardo vino. Ya está.", ["La Sra. Pardo vino.", "Ya está."]),
    ("Mme. Faure chante. Moi aussi.", ["Mme. Faure chante.", "Moi aussi."]),
    ("one line\nanother\n\n\nthird", ["one line", "another", "third"]),
    ("Two things: salt; pepper", ["Two things:", "salt;", "pepper"]),
    ('She said "Stop." He did.', ['She said "Stop."', "He did."]),
    ("Done 🎉 I passed! 🎉🎉 Now sleep", ["Done 🎉 I passed!", "🎉🎉 Now sleep"]),
    ("See you at 10:30.", ["See you at 10:30."]),
    ("Je vis a\u0300 Lyon", ["Je vis à Lyon"]),
    ("  \n \t ", []),
    ("", []),
]


def as_note(sentence: Sentence) -> str:
    return with_subject(sentence.text, sentence)


@pytest.mark.parametrize(("text", "sentences"), SPLITS)
def test_split(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.slow
def test_splitting_ten_megabytes_takes_seconds() -> None:
    text = "I live in Bonn, e.g. near the river. My boat is red. Dr. Roth rows, too. " * 140_000
    start = time.process_time()
    assert len(split(text)) == 3 * 140_000
    assert time.process_time() - start < 15


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    of("My boat is red.", piece * (200_000 // len(piece)))
    assert time.process_time() - start < (20 if "." in piece or "\n" in piece or ":" in piece else 1)


def test_code_symbols_and_scraps_are_left_out() -> None:
    code = "```python\nmy_name = 1\nprint my name here\n```"
    message = f"I use this at work:\n{code}\nI like it a lot.\n    my indented code\nOk\nx = {{a|b}}"
    assert [found.text for found in of(message)] == ["I use this at work:", "I like it a lot."]
    assert of("My boat " + "is red and " * 40) == []
    assert of("```\nI live in a fence that is never closed") == []


def test_only_the_users_turns_are_read() -> None:
    turns = [Turn(1, 1, "assistant", "I live in a box.", NOW), Turn(2, 1, "user", "I live in Bonn.", NOW)]
    (found,) = sentences_of(turns)
    assert (found.text, found.turn.id) == ("I live in Bonn.", 2)


MARKS = [
    ("asks", ["where is my train", "And how does it work", "Is there a bus"]),
    ("asks", ["wo ist der Bahnhof", "¿Hay pan?", "qué hora es"]),
    ("asks", ["où est la gare", "as-tu une recette", "est-ce que ça va"]),
    ("orders", ["Write a poem", "please shorten this", "Schreib ein Gedicht", "Escribe un poema", "Écris un poème"]),
    ("orders", ["I need a title", "Il me faut un titre"]),
    ("imagines", ["If I were rich", "Wenn ich reich wäre", "Si fuera rica, viajaría", "Si j'étais riche"]),
    ("forgets", ["Forget that I row", "Vergiss das mit dem Boot", "Olvida lo del barco", "Oublie le bateau"]),
    ("keep", ["Don't forget that I row", "Vergiss nicht, dass ich rudere"]),
    ("keep", ["No olvides que remo", "N’oublie pas que je rame"]),
    ("mine", ["I row on Mondays", "Das ist mein Boot", "Es mi barco", "C'est mon bateau"]),
    ("kin", ["My sister rows", "Meine Schwester rudert", "Mi hermana rema", "Ma sœur rame"]),
    ("plain", ["I live in Kiel", "Ich wohne in Kiel", "Vivo en Vigo", "J’habite à Brest"]),
    ("style", ["Please keep it short", "Ab jetzt kurze Antworten", "Respuestas cortas", "Réponses courtes"]),
    ("changes", ["I no longer row", "Ich rudere nicht mehr", "Ya no remo", "Je ne rame plus"]),
]  # fmt: skip
OTHERWISE = [
    ("asks", ["When I was small we rowed", "Wie gesagt, ich rudere", "Que me mudo a Vigo"]),
    ("asks", ["Quand j'étais petite, on ramait"]),
    ("orders", ["My plan is simple", "Ich schreibe gern", "Mi hermana escribe", "Ma sœur écrit"]),
    ("forgets", ["Don't forget my birthday", "Don’t forget that I row", "I always forget my keys"]),
    ("forgets", ["No olvides que remo", "Se me olvida todo", "N'oublie pas que je rame", "J'oublie toujours mes clés"]),
    ("mine", ["Give me a title", "Gib mir einen Titel", "Dame un título", "Donne-moi un titre"]),
    ("kin", ["The chat was long", "The mere idea is silly"]),
    ("style", ["Mi abuela siempre canta", "Il pleut toujours", "Ich fahre immer mit dem Rad", "She never sings"]),
]  # fmt: skip


@pytest.mark.parametrize(("mark", "text"), [(mark, text) for mark, texts in MARKS for text in texts])
def test_marked(mark: str, text: str) -> None:
    assert getattr(one(text), mark)


@pytest.mark.parametrize(("mark", "text"), [(mark, text) for mark, texts in OTHERWISE for text in texts])
def test_not_marked(mark: str, text: str) -> None:
    assert not getattr(one(text), mark)


def test_a_quotation_may_run_over_sentences() -> None:
    english, german, french = "“I live in Kiel. I row.”", "„Ich wohne hier. Ich rudere.“", "« Je vis. Je rame. »"
    for quotation in ('"I live in Kiel. I row."', english, german, french):
        found = of(f"{quotation} My boat is red.")
        assert [sentence.quoted for sentence in found] == [*[True] * (len(found) - 1), False]
        assert found[-1].text == "My boat is red."


@pytest.mark.parametrize("order", ["Translate this:", "Übersetz das:", "Traduce esto:", "Traduis ça :"])
def test_what_follows_an_order_with_a_colon_is_material(order: str) -> None:
    found = of(f"{order}\nI live in Kiel.\nI row a lot.")
    assert [sentence.quoted for sentence in found[-2:]] == [True, True]
    assert found[-1].prior() is None


def test_what_follows_a_need_is_the_users_own() -> None:
    assert not of("I need a plan:\nI never row on Mondays.")[-1].quoted


@pytest.mark.parametrize(
    "begin",
    [
        "Let's pretend we are pirates.",
        "You are a wizard and I'm a dragon.",
        "Du bist ein Zauberer und ich bin ein Drache.",
        "Eres un mago y yo soy un dragón.",
        "Tu es un magicien et je suis un dragon.",
        "Lass uns ein Rollenspiel spielen.",
        "Juguemos a los piratas.",
        "On joue aux pirates.",
    ],
)
def test_role_play_lasts_for_the_rest_of_the_chat(begin: str) -> None:
    found = of("I live in Bonn.", begin, "I live in a cave.")
    assert [sentence.imagines for sentence in found] == [False, True, True]


@pytest.mark.parametrize(
    "praise",
    ["You are a star, I'm off now.", "You're the best, I'm happy.", "Du bist ein Schatz, ich bin froh.",
     "Eres un sol, soy feliz.", "Tu es un ange, je suis contente.", "Play it again on Monday."],
)  # fmt: skip
def test_praise_is_no_role_play(praise: str) -> None:
    assert not of(praise, "I live in Bonn.")[-1].imagines


def test_beside_a_request_to_forget() -> None:
    found = of("Please delete that. I live in Bonn.")
    assert [(sentence.forgets, sentence.near_forget) for sentence in found] == [(True, False), (False, True)]
    found = of("Forget the boat, I have bought a horse.")
    assert [(sentence.text, sentence.forgets) for sentence in found][-1] == ("I have bought a horse.", False)
    assert not found[-1].near_forget


@pytest.mark.parametrize("text", ['"I live in Kiel."', "Do I live in Kiel?", "If I were in Kiel", "Forget that I row"])
def test_prior_is_none_where_nothing_is_told(text: str) -> None:
    assert one(text).prior() is None


@pytest.mark.parametrize(
    "rising",
    [
        ["It is quite late.", "My boat is red.", "I live in Kiel.", "Remember that I live in Kiel."],
        ["Es ist recht spät.", "Mein Boot ist rot.", "Ich wohne in Kiel.", "Merk dir, dass ich in Kiel wohne."],
        ["Es muy tarde ya.", "Es mi barco rojo.", "Yo vivo en Vigo.", "Recuerda que vivo en Vigo."],
        ["Il est très tard.", "Mon bateau est rouge.", "Moi, j'habite à Brest.", "Note que j'habite à Brest."],
    ],
)
def test_prior_rises_with_what_the_wording_tells(rising: list[str]) -> None:
    values = [one(text).prior() for text in rising]
    assert None not in values
    assert values == sorted(set(values), key=lambda value: value or 0.0)


def test_a_question_about_style_is_kept_open() -> None:
    assert one("Can you always answer in French?").prior() is not None


NOTES = [
    ("And I row on Mondays.", "I row on Mondays"),
    ("Well, by the way, my boat is red!", "My boat is red"),
    ("Übrigens, ich rudere montags.", "Ich rudere montags"),
    ("Por cierto, remo los lunes.", "Remo los lunes"),
    ("No me gusta el pescado.", "No me gusta el pescado"),
    ("No he comido carne nunca.", "No he comido carne nunca"),
    ("Au fait, je rame le lundi.", "Je rame le lundi"),
    ("Si j’ai faim, je mange.", "Si j’ai faim, je mange"),
    ("Yes, no.", "Yes, no"),
]


@pytest.mark.parametrize(("text", "note"), NOTES)
def test_a_note_goes_without_its_lead_in(text: str, note: str) -> None:
    assert as_note(one(text)) == note


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("My sister is Ilse. She rows.", "My sister is Ilse; She rows"),
        ("Meine Schwester heißt Ilse. Sie rudert.", "Meine Schwester heißt Ilse; Sie rudert"),
        ("Mi hermana es Inés. Ella rema.", "Mi hermana es Inés; Ella rema"),
        ("Ma sœur est Lise. Elle rame.", "Ma sœur est Lise; Elle rame"),
        ("Do you know Ilse? She rows.", "She rows"),
        ("Fine. She rows.", "She rows"),
    ],
)
def test_a_note_with_a_pronoun_says_who(text: str, note: str) -> None:
    assert as_note(of(text)[-1]) == note


def test_a_note_does_not_take_over_a_sentence_too_long_to_be_one() -> None:
    assert as_note(of("My sister " + "rows and " * MAX_CHARS + "sails. She is fast.")[-1]) == "She is fast"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Give me ideas for plants, my flat is small.", "my flat is small."),
        ("Dame ideas para convivir, que mi piso tiene 40 metros.", "que mi piso tiene 40 metros."),
        ("Schreib mir eine Absage, weil ich am Montag in Graz bin.", "weil ich am Montag in Graz bin."),
        ("Write me a poem for my sister, she turns 40.", ""),
        ("Write it as a list, I like lists.", "I like lists."),
        ("Tell me what to see in Tbilisi, my colleague is going.", ""),
        ("Can you find a dinner for two, or tell me where I can?", ""),
    ],
)
def test_what_is_told_behind_a_task_stands_alone(text: str, told: str) -> None:
    (sentence,) = of(text)
    assert (sentence.text, sentence.orders) == ((told, False) if told else (text, True))
