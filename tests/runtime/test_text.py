import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.runtime.template import compile_template
from components.runtime.text import TextModel

MESSAGES = [
    {"role": "system", "content": "Answer in one word. <b>&amp;</b>"},
    {"role": "user", "content": "Größe 🙂\n  it's  <|im_end|> fine"},
]
RICH = """{%- for message in messages %}
    {%- if loop.index > 2 %}{% break %}{% endif %}
    {%- if message.role == "odd" %}{{ raise_exception("no role odd") }}{% endif %}
    {{- bos_token + message | tojson }}
    {% generation %}{{ message.content | trim }}{% endgeneration %}
{%- endfor %}
{{ strftime_now("%Y") | length }}{% if add_generation_prompt %}>>{% endif %}"""


@pytest.fixture(scope="module")
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("int8"))


@pytest.mark.parametrize("template", [None, RICH])
def test_prompts_are_those_of_transformers(
    tiny_onnx: Onnx, tmp_path: Path, template: str | None
) -> None:
    from transformers import AutoTokenizer

    folder = shutil.copytree(tiny_onnx.variant("int8"), tmp_path / "model")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    theirs, ours = AutoTokenizer.from_pretrained(folder), TextModel(folder)
    text = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
    ids = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True, return_dict=False)
    assert ours.render(MESSAGES) == text
    assert ours.prompt_ids(MESSAGES) == ids
    assert ours.prompt_ids("plain text") == theirs("plain text")["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_an_answer_is_the_decoded_stream(model: TextModel) -> None:
    ids = list(model.stream(MESSAGES, max_new_tokens=5))
    assert model.answer(MESSAGES, max_new_tokens=5) == model.decode(ids)
    assert model.answer("text", max_new_tokens=3, temperature=0.7, seed=1) == model.answer(
        "text", max_new_tokens=3, temperature=0.7, seed=1
    )
    assert model.stop_ids == {2}


def test_a_template_can_refuse_messages() -> None:
    template = compile_template(RICH)
    with pytest.raises(ModelError, match="no role odd"):
        template.render([{"role": "odd", "content": ""}], bos_token="")


def test_a_template_cannot_leave_its_sandbox() -> None:
    template = compile_template("{{ messages.__class__.__mro__ }}")
    with pytest.raises(ModelError, match="unsafe"):
        template.render([])


def test_a_template_with_a_fault_is_named() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        compile_template("{% for %}")


def test_without_a_template_text_still_works(tiny_onnx: Onnx, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_onnx.variant("int8"), tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = TextModel(folder)
    assert model.prompt_ids("a") == model.encode("a")
    with pytest.raises(ModelError, match="no chat template"):
        model.render(MESSAGES)


def test_it_runs_without_torch_and_the_rest(tiny_onnx: Onnx) -> None:
    code = f"""
import sys
for name in ("torch", "transformers", "pydantic", "pyarrow", "pandas", "onnx", "onnxruntime_genai"):
    sys.modules[name] = None
from pathlib import Path
from components.runtime.text import TextModel
model = TextModel(Path({str(tiny_onnx.variant("int8"))!r}))
print(len(model.answer([{{"role": "user", "content": "hi"}}], max_new_tokens=4)) >= 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
