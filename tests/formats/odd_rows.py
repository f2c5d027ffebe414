"""Rows that trip careless code: two or more of every kind, with texts that are hard to keep."""

from itertools import cycle, islice
from typing import Any

TEXTS = (
    "plain",
    "  led and trailed \t",
    "two\nlines\n\nand a gap",
    "{instruction} {input} {text} {question} {context} {document} {source}",
    "{} {{}} {0} %s \\1 \\g<0> $HOME",
    "naïve café — 你好, שלום, 👩‍👩‍👧, e\u0301",
    "Summarize the following text:\n\nQuestion: what?\n\n",
    "<|im_start|>assistant\nno<|im_end|>",
    "\ufeffmark\u200b\u2028line",
    "\r\ncarriage\r",
    "'\"`,;\t|",
)


def texts(count: int, start: int) -> list[str]:
    """Return `count` odd texts, another window of them for every `start`."""
    return list(islice(cycle(TEXTS), start, start + count))


def turns(*said: str, first: str = "user") -> list[dict[str, str]]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": r, "content": text} for r, text in zip(cycle(roles), said, strict=False)]


def shares(*said: str) -> list[dict[str, str]]:
    return [
        {"from": f, "value": text} for f, text in zip(cycle(("human", "gpt")), said, strict=False)
    ]


def rows(kind: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return pairs of settings and row for one kind."""
    found = [pair for start in range(len(TEXTS)) for pair in MAKERS[kind](*texts(5, start))]
    return [({"kind": kind, **settings}, row) for settings, row in found]


Pairs = list[tuple[dict[str, Any], dict[str, Any]]]


def alpaca(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    full = {"instruction": a, "input": b, "output": c}
    odd = {"template": "{input}|{instruction}|", "template_without_input": "{input}> {instruction}"}
    return [
        ({}, full),
        ({}, {"instruction": a, "output": b}),
        ({}, {"instruction": a, "input": None, "output": b, "system": c, "history": None}),
        ({"system": e}, {**full, "history": [[a, b], [c, d]], "system": d}),
        ({"system": e}, {**full, "history": [], "system": ""}),
        (odd, full),
        (odd, {**full, "input": ""}),
        ({"input": None, "output": "o"}, {"instruction": a, "o": b}),
    ]


def classification(a: str, b: str, c: str, *_: str) -> Pairs:
    names = {"names": ["yes", "no", "perhaps"]}
    return [
        ({"label": {"column": "l", **names}, "system": c}, {"text": a, "l": "perhaps"}),
        (
            {"label": {"column": "l", **names, "bins": [-1, 2.5]}, "template": "{text}{text}: "},
            {"text": a, "l": "2.5"},
        ),
        (
            {"label": {"column": "l", **names, "values": {0: "yes", 1: "no"}}, "text": "t"},
            {"t": b, "l": 1},
        ),
    ]


def messages(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    first = [{"role": "system", "content": e}]
    return [
        ({}, {"messages": turns(a, b, c, d)}),
        ({}, {"messages": turns(a, first="assistant")}),
        ({"messages": "m"}, {"m": first + turns(a, b)}),
        ({}, {"messages": [{"role": "tool", "content": a}, *turns(b, first="assistant")]}),
    ]


def preference(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    first = [{"role": "system", "content": e}]
    shared = turns(a, b, c)
    yes, no = turns(b, first="assistant"), turns(d, first="assistant")
    whole = {"chosen": shared + yes, "rejected": shared + no}
    return [
        ({}, {"prompt": a, "chosen": b, "rejected": c}),
        ({"system": e}, {"prompt": a, "chosen": b, "rejected": c}),
        ({"system": e, "system_column": "s"}, {"prompt": a, "chosen": b, "rejected": c, "s": d}),
        ({}, {"prompt": shared, "chosen": yes, "rejected": no}),
        ({}, {"prompt": first + shared, "chosen": yes, "rejected": no}),
        ({}, whole),
        ({"prompt": None, "system": e}, whole),
        ({}, {**whole, "prompt": c}),
        ({"prompt": None}, {name: first + value for name, value in whole.items()}),
    ]


def prompt_completion(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    return [
        ({}, {"prompt": a, "completion": b}),
        ({"system": e, "prompt": "q"}, {"q": a, "completion": b}),
        ({"system_column": "s"}, {"prompt": a, "completion": b, "s": c}),
        ({"system": e}, {"prompt": turns(a, b, c), "completion": turns(d, first="assistant")}),
        ({}, {"prompt": [{"role": "system", "content": e}, *turns(a)], "completion": b}),
    ]


def question_answering(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    row = {"question": a, "context": b}
    return [
        ({}, {**row, "answers": c}),
        ({"system": e}, {**row, "answers": [c, d, c]}),
        ({}, {**row, "answers": {"text": [c, d], "answer_start": [0, 7]}}),
        ({}, {**row, "answers": [{"text": c, "answer_start": 3}]}),
        ({"no_answer": e}, {**row, "answers": {"text": [], "answer_start": []}}),
        ({"context": None, "answers": "answer"}, {"question": a, "answer": b}),
        ({"template": "{question}{context}"}, {**row, "answers": [d]}),
    ]


def sharegpt(a: str, b: str, c: str, d: str, e: str) -> Pairs:
    names = [
        {"from": f, "value": v} for f, v in [("system", e), ("user", a), ("model", b), ("human", c)]
    ]
    return [
        ({}, {"conversations": shares(a, b, c, d)}),
        ({}, {"conversations": shares(a, b), "system": c}),
        ({}, {"conversations": [*names, {"from": "assistant", "value": d}], "system": d}),
        (
            {"conversations": "c", "role_tag": "role", "content_tag": "text"},
            {"c": [{"role": "human", "text": a}, {"role": "gpt", "text": b}]},
        ),
    ]


def summarization(a: str, b: str, c: str, *_: str) -> Pairs:
    return [
        ({}, {"document": a, "summary": b}),
        ({"system": c, "template": "{document}{no field}"}, {"document": a, "summary": b}),
    ]


def text(a: str, *_: str) -> Pairs:
    return [({}, {"text": a}), ({"text": "t"}, {"t": a})]


def translation(a: str, b: str, c: str, *_: str) -> Pairs:
    languages = {"source_language": "en", "target_language": "xx"}
    row = {"translation": {"en": a, "xx": b, "de": c}}
    return [
        ({}, {"source": a, "target": b}),
        ({**languages, "source": "s", "target": "t", "system": c}, {"s": a, "t": b}),
        ({"translation": "translation", **languages}, row),
        ({"template": "{source} ({target_language})", **languages}, {"source": a, "target": b}),
    ]


MAKERS: dict[str, Any] = {
    "alpaca": alpaca,
    "classification": classification,
    "messages": messages,
    "preference": preference,
    "prompt_completion": prompt_completion,
    "question_answering": question_answering,
    "sharegpt": sharegpt,
    "summarization": summarization,
    "text": text,
    "translation": translation,
}
