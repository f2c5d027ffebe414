"""The same prompts put to an exported folder by its four readers, and to torch.

Each function takes the folder of a variant (or a model), prompts and a number of new tokens, and
returns an `Asked` for each prompt: greedy, until an end-of-sequence token, which is left out. A
prompt is a conversation for the chat template, or a text to go on from.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
PACKAGES = Path(sys.prefix) / "readers"
"""Where `make readers` installs what package.json names."""

Messages = list[dict[str, str]]
Prompt = Messages | str


@dataclass(frozen=True)
class Asked:
    """Ids of a prompt as a reader makes them, and of its answer."""

    prompt: list[int]
    answer: list[int]

    def until(self, stops: Sequence[int]) -> "Asked":
        ends = [self.answer.index(stop) for stop in stops if stop in self.answer]
        return Asked(self.prompt, self.answer[: min(ends)] if ends else self.answer)


def ask_torch(model: Any, folder: Path, prompts: Sequence[Prompt], new: int) -> list[Asked]:
    """Ask the merged model by `generate`, with the tokenizer in `folder`."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = []
    for prompt in prompts:
        ids = ids_by_transformers(tokenizer, prompt)
        with torch.no_grad():
            inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}
            said = model.generate(**inputs, max_new_tokens=new, do_sample=False)[0].tolist()
        found.append(Asked(ids, said[len(ids) :]).until(stops_of(folder)))
    return found


def ask_ours(folder: Path, prompts: Sequence[Prompt], new: int) -> list[Asked]:
    """Ask through plain onnxruntime, as this project does."""
    from components.runtime.text import TextModel

    model = TextModel(folder)
    return [
        Asked(model.prompt_ids(prompt), list(model.stream(prompt, max_new_tokens=new)))
        for prompt in prompts
    ]


def ask_genai(folder: Path, prompts: Sequence[Prompt], new: int) -> list[Asked]:
    """Ask through onnxruntime-genai: its own tokenizer, template and generation."""
    og = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)
    found = []
    for prompt in prompts:
        text = prompt
        if not isinstance(prompt, str):
            text = tokenizer.apply_chat_template(json.dumps(prompt), add_generation_prompt=True)
        ids = [int(one) for one in tokenizer.encode(text)]
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + new, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(np.asarray(ids, np.int32))
        while not generator.is_done():
            generator.generate_next_token()
        said = [int(one) for one in generator.get_sequence(0)][len(ids) :]
        found.append(Asked(ids, said).until(stops_of(folder)))
    return found


def ask_like_optimum(folder: Path, prompts: Sequence[Prompt], new: int) -> list[Asked]:
    """Ask as optimum-onnx 0.1's ORTModelForCausalLM does, which this transformers is too new for.

    It takes the only `*.onnx` in the folder; the model's config.json says heads and width of an
    empty cache; caches are the inputs and outputs with `.key` or `.value` in their names, in the
    graph's order; positions are made of the mask where the graph asks for them.
    """
    import onnxruntime
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    stops = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    (file,) = folder.glob("**/*.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    inputs = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    pasts = [name for name in inputs if ".key" in name or ".value" in name]
    presents = [name for name in outputs if ".key" in name or ".value" in name]
    assert len(pasts) == len(presents) == 2 * config.num_hidden_layers
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    empty = np.zeros((1, heads, 0, config.hidden_size // config.num_attention_heads), np.float32)
    found = []
    for prompt in prompts:
        asked = ids_by_transformers(tokenizer, prompt)
        ids, past, said = asked, [empty] * len(pasts), list[int]()
        for _ in range(new):
            mask = np.ones((1, len(asked) + len(said)), np.int64)
            feeds = {
                "input_ids": np.asarray([ids], np.int64),
                "attention_mask": mask,
                "position_ids": (mask.cumsum(-1) - 1)[:, -len(ids) :],
                **dict(zip(pasts, past, strict=True)),
            }
            answer = session.run(None, {name: feeds[name] for name in inputs})
            by_name = dict(zip(outputs, answer, strict=True))
            past = [by_name[name] for name in presents]
            ids = [int(by_name["logits"][0, -1].argmax())]
            said += ids
            if said[-1] in np.atleast_1d(stops):
                break
        found.append(Asked(asked, said).until(list(np.atleast_1d(stops))))
    return found


def ask_javascript(asks: Sequence[dict[str, Any]]) -> list[list[Asked]]:
    """Ask folders in transformers.js under Node, all in one process; skip where it is missing.

    An ask is {"folder", "options", "prompts", "max_new_tokens"}; options go to `from_pretrained`.
    """
    node = need_javascript()
    request = json.dumps({"asks": list(asks)})
    done = subprocess.run(
        [node, str(HERE / "ask.mjs"), str(PACKAGES)], input=request, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout.splitlines()[-1])
    return [
        [
            Asked(one["prompt"], one["answer"]).until(stops_of(Path(ask["folder"])))
            for one in answers
        ]
        for ask, answers in zip(asks, answered, strict=True)
    ]


def need_javascript() -> str:
    """Return the path of Node; skip with the reason if it or its packages are missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: transformers.js cannot be asked")
    if not (PACKAGES / "node_modules" / "@huggingface" / "transformers").is_dir():
        pytest.skip("transformers.js is not installed: run `make readers`")
    return node


def ids_by_transformers(tokenizer: Any, prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    return list(tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"])


def stops_of(folder: Path) -> list[int]:
    config = json.loads((folder / "generation_config.json").read_text())
    return [int(one) for one in np.atleast_1d(config["eos_token_id"])]
