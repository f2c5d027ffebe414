"""Perplexity over documents: by token, word and byte, and bits per byte."""

from collections.abc import Sequence

from components.evaluation.settings import PerplexitySettings
from components.scoring.documents import count_words
from components.scoring.requests import Plan, Request
from components.scoring.voice import Voice
from components.scoring.wording import Wording

VERSION = 1
MEASURES = ("bits_per_byte", "token_perplexity", "word_perplexity", "byte_perplexity")


def plan(settings: PerplexitySettings, name: str, prefix_token: int) -> Plan:
    options = {
        "prefix_token": prefix_token,
        "max_length": settings.max_length,
        "stride": settings.stride,
    }
    return Plan(name, "perplexity", VERSION, "perplexity", MEASURES, "", options)


def requests(documents: Sequence[tuple[str, str]], voice: Voice) -> list[Request]:
    """Return a request for each (id, text); texts without a token are left out."""
    made = [
        Request(
            name,
            tuple(voice.encode(text)),
            words=count_words(text),
            bytes=len(text.encode()),
            wording=Wording(text=text).told(),
        )
        for name, text in documents
    ]
    return [request for request in made if request.prompt]
