"""The phrases of four languages: same keys, written as en.toml says, quick to match, and meaning what they should."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgemem.memory import wording, words

LANGUAGES = wording.LANGUAGES
NAMES = [name for name in wording.__annotations__ if name.isupper() and not name.startswith("_")]
SIZE = 30_000  # a quadratic pattern needs seconds for it
HOSTILE = [
    *("a", " ", "\n", ".", "¿", '"', "(", "`", "n'", "a-", "and ", "no ", "my ", "e.g. ", "a. ", "1. a ", "je ne "),
    *("wenn ich ", "you are a ", "forget ", "tu es un ", "eres una ", "my" + " " * 60, "and, ", "Dr. "),
]


def lists_in(language: str) -> Iterator[tuple[str, list[str]]]:
    for key, value in wording.phrases_of(language).items():
        yield from value.items() if isinstance(value, dict) else [(key, value)]


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in NAMES:
        value = getattr(wording, name)
        if isinstance(value, re.Pattern):
            yield name, value
    yield from wording.TOPICS.items()


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_keys_in_the_same_order(language: str) -> None:
    assert [key for key, _ in lists_in(language)] == [key for key, _ in lists_in("en")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_the_list_of_languages_with_capital_nouns_may_be_empty(language: str) -> None:
    assert {key for key, phrases in lists_in(language) if not phrases} <= {"capital_nouns"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_has_a_comment_and_lines_are_short(language: str, source_root: Path) -> None:
    lines = (source_root / "edgemem" / "memory" / "languages" / f"{language}.toml").read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > 120] == []
    top = lines[: lines.index("[topics]") + 1]
    keys = [at for at, line in enumerate(top) if re.match(r"\w+ = |\[topics\]", line)]
    assert [top[at] for at in keys if not top[at - 1].startswith("# ")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_is_written_in_the_notation(language: str) -> None:
    for key, phrases in lists_in(language):
        assert len(phrases) == len(set(phrases)), key
        for phrase in phrases:
            assert phrase == phrase.strip().lower() != "", (key, phrase)
            assert re.search(r"[\\{}’]|\(\?[^!=]|\[[^\]]*[^a-z\],!.: -][^\]]*\]|[*+_]\+|\*\*|__|_\*", phrase) is None, (
                f"{key}: {phrase}"
            )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_compiles_alone_and_none_matches_nothing(language: str) -> None:
    for key, phrases in lists_in(language):
        for phrase in phrases:
            assert re.compile(phrase.translate(wording._NOTATION)).fullmatch("") is None, (key, phrase)


def test_every_key_is_used() -> None:
    code = Path(wording.__file__).read_text("utf-8")
    quoted = set(re.findall(r"'\w+'|\"\w+\"", code))
    named = {name for _, phrases in lists_in("en") for phrase in phrases for name in re.findall(r"<(\w+)>", phrase)}
    for key in wording.phrases_of("en"):
        assert key.upper() in NAMES or {f"'{key}'", f'"{key}"'} & quoted or key in named, key


def test_an_unknown_pattern_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH"):
        wording.NO_SUCH  # noqa: B018


def test_nothing_is_read_or_compiled_at_import() -> None:
    code = """if True:
        from edgemem.memory import sentences, wording, words
        assert wording.phrases_of.cache_info().currsize == 0
        assert not {"ORDER", "FORGET", "TOPICS", "FUNCTION_WORDS"} & set(vars(wording))
        """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_matching_takes_linear_time(piece: str) -> None:
    text = piece * (SIZE // len(piece))
    dict(patterns())
    for name, pattern in patterns():
        start = time.process_time()
        pattern.sub("", text)
        assert time.process_time() - start < 1, name


@pytest.mark.parametrize("begin", ["my ", "my a ", "je n", "you are a ", "wenn ich ", "tengo ", "der "])
@pytest.mark.slow
@pytest.mark.parametrize("filler", ["x", " ", "e-"])
def test_a_long_word_takes_linear_time(begin: str, filler: str) -> None:
    text = begin + filler * SIZE
    for name, pattern in patterns():
        start = time.process_time()
        pattern.search(text)
        assert time.process_time() - start < 1, name


FOUND = {
    "MINE": ["I'm here", "I’ve won", "das ist unsres", "eso es mío", "c'est à moi", "j’arrive"],
    "KIN": [
        *(
            "my little sister",
            "our neighbour's cat",
            "meine große Schwester",
            "mein Schwager",
            "mi cuñado",
            "nuestros hijos",
        ),
        *("ma belle-mère", "mon petit frère", "ma soeur", "my mother-in-law"),
    ],
    "ORDER": [
        *(
            "Please shorten this",
            "ok, translate it",
            "Kannst du das kürzen",
            "Bitte ubersetze das",
            "Por favor, traduce esto",
        ),
        *("Explicame esto", "S'il te plaît, résume ça", "Peux-tu relire"),
    ],
    "NEED": [
        *("I need a name for it", "Ich brauche einen Titel", "Necesito una receta", "Il me faut un plan"),
        *(
            "Two jokes about owls",
            "Now a short speech",
            "Noch ein lustiger Satz",
            "Otras dos recetas",
            "Encore une phrase",
        ),
    ],
    "QUESTION": [
        *(
            "what is a fjord",
            "and when does it open",
            "was heißt das",
            "hast du eine Idee",
            "cómo se dice",
            "donde queda eso",
        ),
        *("comment on fait", "as-tu une idée", "y a-t-il un train"),
    ],
    "IMAGINED": [
        *(
            "if I were a pilot",
            "what if it rains",
            "Angenommen, es regnet",
            "wenn ich reich wäre",
            "si tuviera un barco",
        ),
        *("Supongamos que sí", "si j'étais riche", "Imagine un peu"),
    ],
    "PLAIN": [
        *("I live in Oslo", "I can't stand coriander", "I have two cats", "She is allergic", "I’ve got hay fever"),
        *("Ich heisse Jo", "ich wohne in Ulm", "ich hab zwei Katzen", "jeden Abend", "ich bin Lehrerin"),
        *(
            "Me llamo Sol",
            "soy enfermera",
            "Soy alergica a las nueces",
            "no como carne",
            "tengo tres gatos",
            "tengo 40 años",
        ),
        *(
            "Je m’appelle Lou",
            "j'habite à Lyon",
            "je suis infirmier",
            "je ne mange pas de porc",
            "j'ai un chien",
            "elle a dix ans",
        ),
    ],
    "STYLE": [
        *(
            "keep it short",
            "from now on",
            "please no emojis",
            "always answer in French",
            "ab jetzt",
            "antworte immer kurz",
        ),
        *(
            "duz mich",
            "sin rodeos",
            "respóndeme siempre en inglés",
            "tutéame",
            "réponds toujours en anglais",
            "on se tutoie",
        ),
    ],
    "KEEP": [
        *(
            "Remember that I row",
            "dont forget that",
            "merk dir das",
            "Vergiss bitte nicht",
            "recuerda que",
            "no olvides",
        ),
        *("n’oublie pas", "note bien"),
    ],
    "FORGET": [
        *(
            "forget what I said",
            "delete all that",
            "vergiss das",
            "bitte loschen",
            "losch das",
            "olvídalo",
        ),
        *("borra eso", "oublie ça", "efface tout"),
    ],
    "OFF_RECORD": [
        *("don't store this", "dont note that", "keep none of it", "off the record", "once you answer, bin it"),
        *("merk dir das nicht", "nicht in deine Notizen", "no lo apuntes", "fuera de tu memoria", "ne note pas ça"),
    ],
    "NOT_FORGETTING": [
        "don’t forget",
        "I always forget",
        "vergiss nicht",
        "no olvides",
        "se me olvida",
        "n’oublie pas",
    ],
    "CHANGE": [
        *(
            "not any more",
            "I sold it",
            "we broke up",
            "nicht mehr",
            "hab gekündigt",
            "ya no",
            "lo he vendido",
            "dejé el coro",
        ),
        *("je ne fume plus", "j'ai arrêté", "j’ai déménagé", "désormais"),
    ],
    "LEAD_IN": ["Oh, that", "And I", "Übrigens, das", "Naja, ich", "Por cierto, eso", "Y yo", "Au fait, ça", "Et je"],
    "NEGATION": ["not", "I don’t", "dont", "keine", "nie", "nunca", "sin", "n'ai", "jamais"],
    "CAPITAL_NOUNS": ["Ich wohne hier", "heißt Rex"],
}
NOT_FOUND = {
    "MINE": ["the island", "animal", "Eimer", "el mismo", "il aime"],
    "KIN": ["the mere thought", "in our chat", "the song", "la tarde", "das Rad", "le chemin"],
    "ORDER": ["She gave it away", "Die Machine steht", "La puerta", "Le mur est vert", "My plan is simple"],
    "QUESTION": [
        *("When I was six we moved", "However", "What a day", "Wie gesagt", "Wo ich wohne, ist es laut", "Que me mudo"),
        *("Como pan", "Quand j'étais petit", "Où j'habite, il pleut", "Quel dommage"),
    ],
    "NEED": ["My list is long", "Two sisters have a plan", "Ein Garten am Haus", "Un piso pequeño", "Une amie"],
    "IMAGINED": ["if it rains", "wenn ich koche", "si llueve", "s'il pleut"],
    "PLAIN": ["the van is here", "in den Jahren", "hace años de eso", "dans", "the plan"],
    "STYLE": [
        *("Grandma always sings", "it costs 20 euros", "Ich fahre immer mit dem Rad", "mi abuela siempre canta"),
        *("nunca llueve", "il pleut toujours", "jamais vu"),
    ],
    "FORGET": ["un borracho", "la eliminatoria", "das Streichquartett", "der Löschzug", "I forgot it", "on a oublié"],
    "CHANGE": ["the nowhere man", "das Wiedersehen", "el plus"],
    "LEAD_IN": ["No me gusta", "No he comido", "Android is", "Yo soy", "Si je", "Etna", "Good bread is rare"],
    "NEGATION": ["a note", "Knie", "sinfonía", "en face"],
    "CAPITAL_NOUNS": ["My dog is old"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in FOUND.items() for text in texts])
def test_it_is_found(name: str, text: str) -> None:
    assert getattr(wording, name).search(text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in NOT_FOUND.items() for text in texts])
def test_it_is_not_found(name: str, text: str) -> None:
    assert getattr(wording, name).search(text) is None


NOTHING_LASTING = [
    *(
        "I have to go",
        "I've got a question",
        "ich hab keine Ahnung",
        "ich bin hier",
        "tengo que irme",
        "tengo una duda",
    ),
    *("je suis sûre", "j'ai besoin d'aide"),
]


@pytest.mark.parametrize("text", NOTHING_LASTING)
def test_what_says_nothing_lasting_is_not_plain(text: str) -> None:
    assert wording.PLAIN.search(wording.NOT_PLAIN.sub(" ", text)) is None


@pytest.mark.parametrize(
    ("topic", "texts"),
    [
        ("home", ["she lives here", "er wohnt hier", "me mudo", "il déménage"]),
        ("partner", ["my husband", "geschieden", "mi novia", "ma copine"]),
        ("work", ["my job", "in Rente", "el paro", "au chômage"]),
        ("driving", ["my car", "den Führerschein", "el coche", "le permis"]),
        ("diet", ["no meat", "vegetarisch", "soy vegana", "végétarienne"]),
    ],
)
def test_topics(topic: str, texts: list[str]) -> None:
    for text in texts:
        assert wording.TOPICS[topic].search(text), text


def test_words_meet_by_their_stems() -> None:
    assert words.content_words("I am allergic to nuts") & words.content_words("A nut allergy") == {"aller"}
    assert words.content_list("Anna sings, and Anna sails") == ["anna", "sings", "sails"]
    assert words.content_words("Ich habe keine Katzen") == {"katze"}
    assert words.content_words("Tengo 2 gatos y un perro") == {"2", "gatos", "perro"}
    assert words.all_stems("J’habite à Lyon") == {"j", "habit", "à", "lyon"}


@pytest.mark.parametrize(("text", "names"), [
    ("My sister Ilse lives in Kiel", {"ilse", "kiel"}),
    ("Since 2019 I row", {"2019"}),
    ("Vivo con Marta", {"marta"}),
    ("Paris", set()),
])  # fmt: skip
def test_names(text: str, names: set[str]) -> None:
    assert words.names_in(text) == names


@pytest.mark.parametrize("text", ["I don’t eat fish", "Ich esse keinen Fisch", "No como pescado", "Je n’en mange pas"])
def test_negated(text: str) -> None:
    assert words.negated(text)


@pytest.mark.parametrize("text", ["I eat fish", "Ich esse Fisch", "Como pescado", "Je mange du poisson"])
def test_not_negated(text: str) -> None:
    assert not words.negated(text)
