"""Text that comes token by token is the text of the whole answer, cut where a stop text begins."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from components.contracts.kinds import Onnx
from components.runtime.batch import cut
from components.runtime.stream import Speech, TextStream
from components.runtime.text import TextModel

TEXT = "Größe 🙂🇩🇪 zwei\n\nline  two, 漢字 and e\u0301nd. User: no"
STOPS: list[list[str]] = [[], ["\n\n"], ["User:", "nothing"], ["xx"], ["漢字", "two"], ["🙂"]]


@pytest.fixture(scope="module")
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("int8"))


def pieces(model: TextModel, ids: list[int], stops: list[str]) -> list[str]:
    stream, found = TextStream(model.decode, stops), []
    for token in ids:
        found.append(stream.push(token))
        if stream.stopped:
            return found
    return [*found, stream.end()]


@pytest.mark.parametrize("stops", STOPS)
def test_the_pieces_are_the_answer_up_to_its_stop(model: TextModel, stops: list[str]) -> None:
    ids = model.encode(TEXT, add_special_tokens=False)
    assert len(ids) > len(TEXT) / 2, "a tokenizer of single bytes, so that characters are split"
    found = pieces(model, ids, stops)
    assert "".join(found) == cut(TEXT, stops)
    assert "\ufffd" not in "".join(found)
    assert sum(bool(piece) for piece in found) > 5 or stops == ["🙂"]


def test_any_ids_give_what_they_decode_to(model: TextModel) -> None:
    rng = random.Random(0)
    for _ in range(200):
        ids = [rng.randrange(3, model.tokenizer.get_vocab_size()) for _ in range(12)]
        assert "".join(pieces(model, ids, [])) == model.decode(ids)


def test_a_stop_that_does_not_come_is_given_back(model: TextModel) -> None:
    ids = model.encode("one Use", add_special_tokens=False)
    found = pieces(model, ids, ["User:"])
    assert "".join(found) == "one Use"
    assert "U" not in "".join(found[:-1]), "held until it is clear that no stop follows"


def test_a_decoder_that_writes_the_first_token_differently(tmp_path: Path) -> None:
    from tokenizers import decoders, models

    words = {"▁a": 0, "▁b": 1, "c": 2, "<unk>": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.decoder = decoders.Metaspace()
    stream = TextStream(lambda ids: tokenizer.decode(list(ids)))
    assert [stream.push(token) for token in (0, 1, 2, 1)] == ["a", " b", "c", " b"]


@pytest.mark.parametrize(
    ("room", "stops", "finish"), [(4, [], "length"), (40, [], "stop"), (40, ["b"], "stop")]
)
def test_a_speech_says_why_it_ended(
    model: TextModel, room: int, stops: list[str], finish: str
) -> None:
    ids = model.encode("aabbcc", add_special_tokens=False)[: min(room, 6)]
    speech = Speech(3, room, iter(ids), TextStream(model.decode, stops))
    assert "".join(speech) == ("aa" if stops else "aabbcc"[: len(ids)])
    assert speech.finish == finish
    assert speech.tokens == (3 if stops else len(ids))
