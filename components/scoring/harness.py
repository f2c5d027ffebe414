"""lm-eval's tasks with our models: a small adapter from `CausalLM` to lm-eval's own interface.

lm-eval builds the prompts, filters and marks; only reading and writing tokens is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs

from components.contracts.events import Events, Silent
from components.runtime.batch import Stop, cut, generate_batch
from components.runtime.generate import Generation
from components.scoring.documents import Document, Reading, score_documents
from components.scoring.likelihoods import likelihoods
from components.scoring.lm import CausalLM
from components.scoring.voice import Voice

MAX_GEN_TOKS = 256
"""lm-eval's own default for tasks that do not say."""

IGNORED = {"do_sample", "until", "max_gen_toks", "temperature", "top_k", "top_p", "max_length"}


class HarnessLM(TemplateLM):
    """Any `CausalLM` as lm-eval knows models.

    `prefix_token` stands before texts without a context, as `prefix_token_id` of lm-eval's hf
    backend; `max_length` is how many tokens are read at once: longer prompts lose their beginning.
    """

    backend = "causal"

    def __init__(
        self,
        lm: CausalLM,
        voice: Voice,
        *,
        prefix_token: int,
        max_length: int,
        name: str = "tuneline",
        events: Events | None = None,
        label: str = "lm-eval",
    ) -> None:
        super().__init__()
        self.lm, self.voice, self.tokenizer = lm, voice, voice.tokenizer
        self.prefix_token, self.max_length, self.name = prefix_token, max_length, name
        self.events, self.label = events or Silent(), label

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        return self.prefix_token

    @property
    def tokenizer_name(self) -> str:
        return self.name

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Return ids as lm-eval's hf backend does: special tokens are the tokenizer's choice, and
        none are added to a text that begins with the prefix token already.
        """
        if add_special_tokens is None:
            start = self.tokenizer.decode(self.prefix_token)
            add_special_tokens = not (start and string.startswith(start))
        return self.voice.encode(string, special=add_special_tokens)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        contexts, continuations = [], []
        for _text, context, continuation in requests:
            room = self.max_length + 1 - len(continuation)
            contexts.append(tuple(context[-room:]))
            continuations.append([tuple(continuation)])
        found = likelihoods(self.lm, contexts, continuations, events=self.events, label=self.label)
        return [(one.logprob, one.greedy) for (one,) in found]

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        del disable_tqdm
        documents = [
            Document(str(at), tuple(self.tok_encode(request.args[0])), 0, 0)
            for at, request in enumerate(requests)
        ]
        reading = Reading(self.prefix_token, self.max_length)
        found = score_documents(self.lm, documents, reading, events=self.events, label=self.label)
        return [-nll for nll in found]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        del disable_tqdm
        texts = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for at, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(at)
        for places in groups.values():
            contexts = [requests[at].args[0] for at in places]
            for index, text in self._generate(contexts, requests[places[0]].args[1]):
                texts[places[index]] = text
        return texts

    def _generate(self, contexts: list[str], asked: Mapping[str, Any]) -> Any:
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(dict(asked), MAX_GEN_TOKS))
        stranger = sorted(kwargs.keys() - IGNORED)
        if stranger:
            self.events.note(f"{self.label}: generation settings left out: {', '.join(stranger)}")
        end = str(self.tokenizer.decode([self.eot_token_id], skip_special_tokens=False))
        stops = tuple(dict.fromkeys([*kwargs["until"], end]))
        new = int(kwargs["max_gen_toks"])
        prompts = [self.tok_encode(text)[-(self.max_length - new) :] for text in contexts]
        generation = Generation(
            max_new_tokens=new,
            temperature=kwargs["temperature"] if kwargs.get("do_sample") else 0.0,
            top_k=int(kwargs.get("top_k") or 0),
            top_p=float(kwargs.get("top_p") or 1.0),
        )
        # A special token that ends a text is an id: what is decoded never shows it.
        stop = Stop(self.voice.stop_ids, stops, self.voice.decode)
        found = generate_batch(self.lm, prompts, generation, stop)
        for done, (index, ids) in enumerate(found, start=1):
            yield index, cut(self.voice.decode(ids), stops)
            self.events.progress(self.label, done, len(prompts))
