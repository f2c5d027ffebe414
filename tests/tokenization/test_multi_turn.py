"""Conversations of several turns in the templates of several families: what is trained.

The templates are written after the ones that the models come with. Special tokens are added to a
small byte-level BPE, so that every answer is more than one token.
"""

from collections.abc import Callable

import pytest
from encoded import encode, trained_parts
from made_rows import chat, talk
from made_tokenizer import SPECIAL

from components.contracts.errors import DataError, ModelError
from components.tokenization.encode import encode_rows
from components.tokenization.ledger import Audit
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer

LOOP = "{% for message in messages %}"
SMOLLM = (
    LOOP + "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are made up<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    LOOP + "{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_3 = (
    "{%- set ns = namespace(last=messages|length - 1, more=true) %}"
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}"
    "{%- if ns.more and message.role == 'user' and message.content is string and not"
    " (message.content.startswith('<tool_response>') and"
    " message.content.endswith('</tool_response>')) %}"
    "{%- set ns.more = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}"
    "{%- for message in messages %}{%- set content = message.content %}"
    "{%- if message.role == 'assistant' %}{%- set thought = '' %}"
    "{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].rstrip('\n')"
    ".split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last %}{%- if loop.last or (not loop.last and thought) %}"
    "{{- '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n'"
    " + content.lstrip('\n') }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content }}{%- endif %}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content }}{%- endif %}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + content }}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
LLAMA_3 = (
    LOOP + "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
    "{% for message in rest %}{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{{ bos_token }}" + LOOP + "{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    + LOOP
    + "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    LOOP + "{{ '<|' ~ message['role'] ~ '|>\n' ~ message['content'] ~ eos_token }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}"
)
PHI_3 = (
    LOOP + "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)

TALK = ("What is two and two?", " It makes four.", "And three?", "That makes five, héé! 你好")

# template, beginning, end of a text, other ends, where each of the two answers is trained
CASES = {
    "smollm": (SMOLLM, "<|im_start|>", "<|im_end|>", [], " It makes four.<|im_end|>", None),
    "chatml, marked": (MARKED, "<|im_start|>", "<|im_end|>", [], " It makes four.<|im_end|>", None),
    "llama-3": (LLAMA_3, "<s>", "</s>", ["<|eot_id|>"], "It makes four.<|eot_id|>", None),
    "llama-2": (
        LLAMA_2,
        "<s>",
        "</s>",
        [],
        " It makes four. </s>",
        " That makes five, héé! 你好 </s>",
    ),
    "mistral": (
        MISTRAL,
        "<s>",
        "</s>",
        [],
        "  It makes four.</s>",
        " That makes five, héé! 你好</s>",
    ),
    "gemma": (GEMMA, "<s>", "</s>", ["<end_of_turn>"], "It makes four.<end_of_turn>", None),
    "phi-3": (PHI_3, "<s>", "</s>", ["<|end|>"], " It makes four.<|end|>", None),
}


@pytest.mark.parametrize("kind", ["byte-level", "llama-3", "spaces", "no cuts"])
@pytest.mark.parametrize("name", CASES)
def test_every_answer_is_trained_with_its_end_and_nothing_else(
    make: Callable[..., Tokenizer], name: str, kind: str
) -> None:
    template, bos, eos, stops, first, second = CASES[name]
    tokenizer = make(template, bos, eos, stops, kind)
    text, ledger = encode(tokenizer, chat(*TALK))
    end = first[first.rindex("<") :]
    assert trained_parts(text) == [first, second or f"That makes five, héé! 你好{end}"]
    assert (ledger.answers[0], ledger.trained_answers[0]) == (2, 2)
    assert ledger.eos_trained[0]
    assert not ledger.bos_doubled[0]


@pytest.mark.parametrize("kind", ["byte-level", "llama-3", "spaces", "no cuts"])
@pytest.mark.parametrize("name", [*CASES, "qwen-3"])
def test_the_prompt_is_that_of_inference(
    make: Callable[..., Tokenizer], name: str, kind: str
) -> None:
    template, bos, eos, stops = (
        (QWEN_3, "<|im_start|>", "<|im_end|>", []) if name == "qwen-3" else CASES[name][:4]
    )
    tokenizer = make(template, bos, eos, stops, kind)
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(TALK)
    ]
    (line,) = encode_rows(
        tokenizer, {name: [v] for name, v in chat(*TALK).items()}, TokenizationSettings()
    )
    theirs = tokenizer.hf.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=False
    )
    assert line.head == theirs
    assert tokenizer.decode(line.head + line.tail).startswith(tokenizer.decode(theirs))


@pytest.mark.parametrize("name", [*CASES, "zephyr", "qwen-3"])
def test_conversations_read_as_transformers_writes_them(
    make: Callable[..., Tokenizer], name: str
) -> None:
    """Renders many conversations, so that the proven short way is taken too."""
    template = {"zephyr": ZEPHYR, "qwen-3": QWEN_3}.get(name) or CASES[name][0]
    tokenizer = make(template, "<s>", "</s>", [])
    odd = [
        "a",
        "",
        "  b ",
        "<think>\nhm\n</think>\n\nc",
        "<tool_response>x</tool_response>",
        "{{d}}",
    ]
    for n in range(60):
        contents = [odd[(n * 7 + turn * (n + 3)) % len(odd)] for turn in range(2 + n % 5)]
        messages = [
            {"role": ("user", "assistant")[t % 2], "content": c} for t, c in enumerate(contents)
        ]
        for asked in (True, False):
            theirs = tokenizer.hf.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asked
            )
            assert tokenizer.chat.render(messages, generation_prompt=asked) == theirs


@pytest.mark.parametrize("name", [*CASES, "zephyr", "qwen-3"])
def test_these_templates_are_foreseen(make: Callable[..., Tokenizer], name: str) -> None:
    template = {"zephyr": ZEPHYR, "qwen-3": QWEN_3}.get(name) or CASES[name][0]
    tokenizer = make(template, "<s>", "</s>", [])
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    tokenizer.chat.render(messages, generation_prompt=False)
    assert all(tokenizer.chat._shapes.values())


def test_a_dropped_thought_leaves_the_earlier_answer_untrained(
    make: Callable[..., Tokenizer],
) -> None:
    tokenizer = make(QWEN_3, "<|im_start|>", "<|im_end|>", [])
    thinking = ("q", "<think>\nhm\n</think>\n\nfour", "and?", "<think>\nso\n</think>\n\nfive")
    text, ledger = encode(tokenizer, chat(*thinking))
    assert trained_parts(text) == ["<think>\nso\n</think>\n\nfive<|im_end|>"]
    assert "⟦" not in text[: text.index("four") + 10]
    assert (ledger.answers[0], ledger.trained_answers[0], ledger.rewritten[0]) == (2, 1, 1)
    audit = Audit(TokenizationSettings(rewritten_turns="error"))
    audit.admit(ledger, lambda _: "a.csv:1")
    with pytest.raises(DataError, match="written otherwise once the conversation goes on") as error:
        audit.check()
    assert "rewritten_turns: skip" in str(error.value.fix)


def test_an_answer_after_a_tool_keeps_its_thought_and_is_trained(
    make: Callable[..., Tokenizer],
) -> None:
    # Qwen 3 drops thoughts only before the last question of the user.
    tokenizer = make(QWEN_3, "<|im_start|>", "<|im_end|>", [])
    row = talk(
        ("user", "q"),
        ("assistant", "<think>\nask\n</think>\n\ncall"),
        ("user", "<tool_response>4</tool_response>"),
        ("assistant", "four"),
    )
    text, ledger = encode(tokenizer, row)
    assert trained_parts(text) == [
        "<think>\nask\n</think>\n\ncall<|im_end|>",
        "<think>\n\n</think>\n\nfour<|im_end|>",
    ]
    assert ledger.rewritten[0] == 0


def test_gemma_has_no_system_role(make: Callable[..., Tokenizer]) -> None:
    template, bos, eos, stops, *_ = CASES["gemma"]
    row = talk(("system", "s"), ("user", "q"), ("assistant", "a"))
    with pytest.raises(ModelError, match="System role not supported"):
        encode(make(template, bos, eos, stops), row)


def test_a_system_turn_inside_the_first_question(make: Callable[..., Tokenizer]) -> None:
    template, bos, eos, stops, *_ = CASES["llama-2"]
    row = talk(
        ("system", "s"), ("user", " q "), ("assistant", "a"), ("user", "r"), ("assistant", "b")
    )
    text, _ = encode(make(template, bos, eos, stops), row)
    assert text == (
        "<s>[INST] <<SYS>>\ns\n<</SYS>>\n\n q [/INST]⟦ a </s>⟧<s>[INST] r [/INST]⟦ b </s>⟧"
    )


def test_a_conversation_may_begin_with_an_answer(make: Callable[..., Tokenizer]) -> None:
    tokenizer = make(SMOLLM, "<|im_start|>", "<|im_end|>", [])
    row = talk(("assistant", "Hello"), ("user", "q"), ("assistant", "a"))
    text, ledger = encode(tokenizer, row)
    assert trained_parts(text) == ["a<|im_end|>"]
    assert (ledger.answers[0], ledger.trained_answers[0]) == (2, 1)


def test_earlier_answers_that_do_not_end_are_not_trained(make: Callable[..., Tokenizer]) -> None:
    endless = LOOP + "{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    endless += "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    text, ledger = encode(make(endless, "<s>", "</s>", []), chat("q", "a", "r", "b"))
    assert text == "user: q\nassistant: a\nuser: r\nassistant: ⟦b</s>⟧"
    assert ledger.rewritten[0] == 1


def test_marks_of_the_template_narrow_what_is_trained(make: Callable[..., Tokenizer]) -> None:
    only_content = MARKED.replace(
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    tokenizer = make(only_content, "<|im_start|>", "<|im_end|>", [])
    text, ledger = encode(tokenizer, chat("q", "aa", "r", "bb"))
    assert trained_parts(text) == ["aa<|im_end|>", "bb<|im_end|>"], (
        "the end behind a mark is trained"
    )
    half = MARKED.replace("{{ message['content'] +", "{{ 'Well:\n' }}{{ message['content'] +")
    half = half.replace("{% generation %}{{ 'Well:\n' }}", "{{ 'Well:\n' }}{% generation %}")
    text, ledger = encode(make(half, "<|im_start|>", "<|im_end|>", []), chat("q", "aa", "r", "bb"))
    assert trained_parts(text) == ["aa<|im_end|>", "bb<|im_end|>"]
    assert ledger.eos_trained[0]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (MARKED.replace("== 'assistant' %}{% gen", "== 'model' %}{% gen"), "no token is trained"),
        (
            MARKED.replace(
                "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
                "{{ message['content'] }}{% endgeneration %}{{ '!<|im_end|>' }}",
            ),
            "end-of-sequence token is not trained",
        ),
    ],
    ids=["trains nothing", "never stops"],
)
def test_marks_that_train_too_little_stop_the_line(
    make: Callable[..., Tokenizer], template: str, said: str
) -> None:
    _, ledger = encode(make(template, "<|im_start|>", "<|im_end|>", []), chat("q", "aa"))
    audit = Audit(TokenizationSettings())
    audit.admit(ledger, lambda _: "a.csv:1")
    with pytest.raises(DataError, match=said):
        audit.check()


def test_a_cut_prompt_does_not_train_half_an_answer(make: Callable[..., Tokenizer]) -> None:
    tokenizer = make(SMOLLM, "<|im_start|>", "<|im_end|>", [])
    row = chat("q " * 30, "one two three four five six " * 4, "r", "b")
    whole, _ = encode(tokenizer, row)
    assert len(trained_parts(whole)) == 2
    text, ledger = encode(tokenizer, row, max_length=40, truncation="truncate_prompt")
    assert trained_parts(text) == ["b<|im_end|>"]
    assert "four five six" in text
    assert ledger.length[0] == 40
    assert (ledger.answers[0], ledger.trained_answers[0]) == (2, 1)


def test_special_tokens_are_there(make: Callable[..., Tokenizer]) -> None:
    tokenizer = make(SMOLLM, "<s>", "</s>", [])
    assert {tokenizer.token(i) for i in range(len(SPECIAL))} == set(SPECIAL)
