"""Chat templates of several families, as strings: where the answer begins and where it ends."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_rows import chat, labelled, plain

from components.contracts.artefacts import write_json
from components.contracts.errors import DataError, ModelError
from components.contracts.kinds import BaseModelFolder, Tokens
from components.tokenization.tokenizer import load_tokenizer

LOOP = "{% for m in messages %}"
CHATML = LOOP + (
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = LOOP + (  # strips contents, puts a space before the answer and before the end
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = LOOP + (  # BOS before the first turn, another token than eos_token ends a turn
    "{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '[' + m['role'] + ']\n\n' + m['content'] | trim + '<|endoftext|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]\n\n' }}{% endif %}"
)
THINKING = LOOP + (  # writes an empty thought before the last answer only
    "{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if loop.last and m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ENDLESS = (
    LOOP
    + "{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    + ("{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
)


def marked(tokens: Tokens) -> str:
    return str(tokens.facts["shown"][0]["text"])


@pytest.mark.parametrize(
    ("template", "generation_eos", "wanted"),
    [
        (CHATML, 2, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n⟦good<|im_end|>⟧"),
        (LLAMA_2, 2, "<|im_start|>[INST] q [/INST]⟦ good <|im_end|>⟧"),
        (LLAMA_3, [2, 0], "<|im_start|>[user]\n\nq<|endoftext|>[assistant]\n\n⟦good<|endoftext|>⟧"),
        (
            THINKING,
            2,
            "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
            "⟦<think>\n\n</think>\n\ngood<|im_end|>⟧",
        ),
        (ENDLESS, 2, "user: q\nassistant: ⟦good<|im_end|>⟧"),
    ],
    ids=["chatml", "llama-2", "llama-3", "thinking", "endless"],
)
def test_the_answer_is_cut_out_of_any_template(
    run: Any, base_with: Any, template: str, generation_eos: Any, wanted: str
) -> None:
    tokens = run([labelled("q")], base=base_with(template, generation_eos))
    assert marked(tokens) == wanted
    (line,) = pq.read_table(tokens.split("train")).to_pylist()
    assert line["answer_ids"][:-1] == line["choice_ids"][1]
    assert line["eos_trained"]
    assert not line["bos_doubled"]


def test_a_one_letter_answer_is_not_found_inside_the_template(run: Any, base_with: Any) -> None:
    tokens = run([chat("which?", "t")], base=base_with(THINKING))
    assert marked(tokens).endswith("⟦<think>\n\n</think>\n\nt<|im_end|>⟧")


def test_an_answer_that_holds_an_end_is_kept_whole(run: Any, base_with: Any) -> None:
    tokens = run([chat("which?", "a<|im_end|>b")], base=base_with(CHATML))
    assert marked(tokens).endswith("⟦a<|im_end|>b<|im_end|>⟧")


def test_a_template_that_rewrites_the_prompt_is_refused(run: Any, base_with: Any) -> None:
    counting = "{{ messages | length }}" + CHATML
    with pytest.raises(ModelError, match="writes a prompt differently"):
        run([labelled("q")], base=base_with(counting))


def test_a_template_that_changes_the_answer_is_refused(run: Any, base_with: Any) -> None:
    with pytest.raises(ModelError, match="does not write the answer 'good' as it is"):
        run([labelled("q")], base=base_with(CHATML.replace("m['content']", "m['content'] | upper")))


def test_a_template_may_refuse_a_role(run: Any, base_with: Any) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    with pytest.raises(ModelError, match="refuses this conversation: no system"):
        run([labelled("q", system="s")], base=base_with(strict + CHATML))


def test_no_template_is_an_error_for_conversations_only(run: Any, base_with: Any) -> None:
    base = base_with(None)
    with pytest.raises(ModelError, match="no chat template"):
        run([labelled("q")], base=base)
    assert marked(run([plain("abc")], base=base)) == "a⟦bc<|im_end|>⟧"


def test_no_end_of_sequence_token_is_an_error(run: Any, base_with: Any) -> None:
    with pytest.raises(ModelError, match="no eos_token"):
        run([labelled("q")], base=base_with(CHATML, eos_token=None))


def test_a_doubled_beginning_stops_the_line_by_name(run: Any, base_with: Any) -> None:
    doubled = "{{ bos_token }}" + CHATML
    with pytest.raises(
        DataError, match="token is there twice: 1 row: demo.csv:1".replace(".", r"\.")
    ):
        run([labelled("q")], base=base_with(doubled))


def test_rows_without_an_answer_train_their_end_only(run: Any, base_with: Any) -> None:
    # Validation quarantines empty answers; should one come through, it is still a sound row.
    assert marked(run([chat("q", "")], base=base_with(CHATML))).endswith("\n⟦<|im_end|>⟧")


@pytest.fixture
def adding_base(base_with: Any) -> BaseModelFolder:
    """A base whose tokenizer puts BOS before every text by itself, as Llama's and Gemma's do."""
    base: BaseModelFolder = base_with(LLAMA_3, [2, 0])
    file = base.model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    bos = {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": bos},
    }
    write_json(file, tokenizer)
    return base


def test_a_tokenizer_that_adds_bos_does_not_double_it(
    run: Any, adding_base: BaseModelFolder
) -> None:
    assert load_tokenizer(adding_base.model).tokens.adds_bos
    tokens = run([labelled("q"), plain("abc")], base=adding_base)
    chatted, text = pq.read_table(tokens.split("train")).to_pylist()
    assert chatted["input_ids"].count(1) == 1
    assert text["input_ids"][:2] == [1, text["text_ids"][0]]
    assert text["text_ids"][0] != 1
    assert tokens.facts["prefix_token"] == 1
