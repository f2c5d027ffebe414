"""A model is asked as its rows were trained."""

import shutil
from pathlib import Path

import pytest

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.runtime.shape import Shape
from components.runtime.text import TextModel

HI = {"role": "user", "content": "hi"}
REPLY = {"role": "assistant", "content": "{text}"}


def test_a_text_becomes_the_trained_turns() -> None:
    shape = Shape.of({"system": "Brief.", "template": "Q: {text}\nA:", "device": "cpu"})
    asked = [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "Q: braces {text} stay\nA:"},
    ]
    assert shape.ask("braces {text} stay") == asked
    assert shape.ask("hi", system="Long.")[0] == {"role": "system", "content": "Long."}
    assert shape.ask("hi", system="") == [{"role": "user", "content": "Q: hi\nA:"}]


def test_a_conversation_keeps_its_own_system_turn_and_its_answers() -> None:
    shape = Shape(system="Brief.", template="<{text}>")
    own = {"role": "system", "content": "Own."}
    assert shape.turns([own, HI]) == [own, {"role": "user", "content": "<hi>"}]
    told = shape.turns([HI, REPLY, HI])
    assert [turn["content"] for turn in told] == ["Brief.", "<hi>", "{text}", "<hi>"]  # type: ignore[index]
    assert shape.turns([own, HI], system="New.")[0] == {"role": "system", "content": "New."}


def test_a_model_of_plain_text_knows_no_turns() -> None:
    shape = Shape.of({"plain": True, "system": None, "template": "{text}"})
    assert shape.ask("Once upon") == "Once upon"
    for wrong in ([HI, REPLY, HI], [REPLY], []):
        with pytest.raises(ModelError, match="plain text"):
            shape.turns(wrong)
    with pytest.raises(ModelError, match="no system turn"):
        shape.ask("Once", system="Brief.")


def test_a_version_that_says_little_is_asked_as_before() -> None:
    assert Shape.of({"system": None, "template": None}) == Shape()
    assert Shape.of({"labels": ["a", "b"]}).labels == ("a", "b")


def test_a_text_to_go_on_from_is_not_ended(tiny_onnx: Onnx, tmp_path: Path) -> None:
    """Some tokenizers put an end behind every text; trained rows go on there."""
    from tokenizers import Tokenizer, processors

    folder = shutil.copytree(tiny_onnx.variant("int8"), tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = [tokenizer.id_to_token(index) for index in (1, 2)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names[0]} $A {names[1]}", special_tokens=[(names[0], 1), (names[1], 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    model = TextModel(folder)
    bare = model.encode("ab", add_special_tokens=False)
    assert model.encode("ab") == [1, *bare, 2]
    assert model.prompt_ids("ab") == [1, *bare]


def test_prompts_that_cannot_be_answered_are_told(tiny_onnx: Onnx) -> None:
    model = TextModel(tiny_onnx.variant("int8"))
    with pytest.raises(ModelError, match="no tokens"):
        model.prompt_ids("")
    with pytest.raises(ModelError, match=f"context of {model.context_length}"):
        model.prompt_ids("long " * model.context_length)
    room = model.context_length - len(model.prompt_ids("a" * (model.context_length - 5)))
    speech = model.speak("a" * (model.context_length - 5), max_new_tokens=64)
    assert speech.max_new_tokens == room == 5


def test_dates_in_a_template_are_those_of_training(tiny_onnx: Onnx, tmp_path: Path) -> None:
    from components.tokenization.template import ChatTemplate

    source = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    folder = shutil.copytree(tiny_onnx.variant("int8"), tmp_path / "model")
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
    trained = ChatTemplate(source, {}).render([HI], generation_prompt=True)
    assert TextModel(folder).render([HI]) == trained
