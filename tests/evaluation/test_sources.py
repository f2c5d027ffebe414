"""What an encoder-decoder is asked: its turns as plain text, choices as texts of their own."""

import pytest
from made_seq2seq import EOS, random_t5

from components.contracts.errors import RecipeError
from components.contracts.kinds import BaseModelFolder
from components.evaluation.kinds import KINDS
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row
from components.evaluation.settings import EvaluationSettings
from components.scoring.voice import Voice, load_voice

TURNS = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "tea?"})
ROW = Row("a", TURNS, "yes", ("no", "yes"), 1, ("yes",), "tea?")


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    return random_t5(tmp_path_factory.mktemp("t5") / "base")


@pytest.fixture(scope="module")
def voice(t5: BaseModelFolder) -> Voice:
    return load_voice(t5.model)


def test_the_source_ends_and_choices_stand_alone(voice: Voice, tiny_base: BaseModelFolder) -> None:
    assert voice.source_apart
    assert voice.stop_ids == {EOS}
    assert not load_voice(tiny_base.model).source_apart
    whole = [*voice.encode("Be kind.\n\ntea?"), EOS]
    for chat in (True, False):
        prompter = Prompter(voice, None, chat)
        assert list(prompter.ask(ROW, room=4)) == whole
        prompt, choices = prompter.choices(ROW)
        assert list(prompt) == whole
        assert [list(one) for one in choices] == [voice.encode("no"), voice.encode("yes")]


def test_what_is_read_from_nothing_is_refused() -> None:
    for section in (
        {"perplexity": {}},
        {"tasks": [{"task": "perplexity", "name": "news", "dataset_path": "x"}]},
        {"guards": [{"task": "lm_eval", "name": "mine"}]},
    ):
        with pytest.raises(RecipeError, match="reads texts as only a decoder can"):
            KINDS["SEQ_2_SEQ_LM"].check(EvaluationSettings.model_validate(section))
    KINDS["SEQ_2_SEQ_LM"].check(EvaluationSettings.model_validate({"tasks": [{"task": "choice"}]}))
