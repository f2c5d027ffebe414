"""Scripts, languages, insults, and the words that they are counted in."""

import base64
import random
import re
from itertools import pairwise

import numpy as np
import pytest

from components.contracts.errors import DataError, RecipeError
from components.validation.detect import language
from components.validation.detect.characters import characters, parts
from components.validation.detect.columns import column
from components.validation.detect.script import script_share
from components.validation.detect.toxicity import LIST, insults, toxic_share
from components.validation.detect.words import words

TEXTS = ["Hello, world! it's", "", "你好 abc", "x", "ééa É_1", "हिन्दी भाषा", "🙂", "ไทย"]
WORDS = ["hello world it s", "", "你 好 abc", "x", "ééa é 1", "हिन्दी भाषा", "", "ไ ท ย"]
SCRIPTS = {
    ("hello", "Latin"): 1.0,
    ("Привет me", "Latin"): 0.25,
    ("Привет me", "Cyrillic"): 0.75,
    ("12 !? 🙂", "Latin"): 1.0,
    ("", "Latin"): 1.0,
    ("你好 hi", "Han"): 0.5,
    ("مرحبا", "Arabic"): 1.0,
    ("𝒜", "Latin"): 0.0,
}


def test_words_are_letters_digits_and_marks_in_lower_case() -> None:
    found = words(characters(column(TEXTS)))
    spelled = [found.spelled(word) for word in range(len(found.ids))]
    bounds = found.starts.tolist()
    assert [" ".join(spelled[a:b]) for a, b in pairwise(bounds)] == WORDS


def test_equal_words_and_only_they_have_equal_ids() -> None:
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcd é\n", k=30)) for _ in range(500)]
    found = words(characters(column(texts)))
    spelled = [found.spelled(word) for word in range(len(found.ids))]
    assert spelled == [word for text in texts for word in re.findall(r"\w+", text)]
    assert len(set(found.ids.tolist())) == len(set(spelled))


def test_rows_may_be_taken_in_any_parts() -> None:
    whole = words(characters(column(TEXTS))).ids
    split = [words(chars).ids for _, chars in parts(column(TEXTS), 8)]
    assert len(split) > 3
    assert np.array_equal(np.concatenate(split), whole)


@pytest.mark.parametrize(("text", "script"), SCRIPTS)
def test_script_share(text: str, script: str) -> None:
    assert script_share(["between", text], [script])[1] == SCRIPTS[text, script]


def test_shares_of_several_scripts_add_up() -> None:
    assert script_share(["日本語です カナ"], ["Han", "Hiragana", "Katakana"])[0] == 1


def test_an_unknown_script_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'Cyrillic'"):
        script_share(["x"], ["Latin", "Cyrilic"])


def test_toxic_share_of_named_words() -> None:
    shares = toxic_share(["You FOO, bar!", "foot", "", "foo"], ["foo", "baz"])
    assert shares.tolist() == [1 / 3, 0, 0, 1]


def test_the_own_list_is_used_and_readable() -> None:
    assert len(insults()) > 80
    assert all(re.fullmatch("[a-z]+", word) for word in insults())
    assert LIST.read_text().split() == [base64.b64encode(w.encode()).decode() for w in insults()]
    assert toxic_share([f"you {insults()[0]}", "a nice day"]).tolist() == [0.5, 0]


def test_languages() -> None:
    pytest.importorskip("fasttext", reason="the extra `language` is not installed")
    texts = ["This is a good day for everyone", "Das ist ein guter Tag für alle", "", None]
    assert language.languages(texts) == ["en", "de", None, None]
    assert language.languages(["This is good"], least=1.1) == [None]


def test_languages_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fasttext", None)
    language._model.cache_clear()
    with pytest.raises(DataError, match=r"tuneline\[language\]"):
        language.languages(["x"])
