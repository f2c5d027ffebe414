"""What a written answer earns: for each measure, the numbers that it adds (`measures`)."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.contracts.errors import ModelError, RecipeError
from components.scoring.probes import refusal, words

Marks = Mapping[str, tuple[float, ...]]
ARTICLES = re.compile(r"\b(a|an|the)\b")
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def extract(text: str, pattern: str | None) -> str:
    """Return what `pattern` finds first in `text`: its first group if it has one, else all of it.

    Nothing found is "". Without a pattern the text itself; white space at both ends goes.
    """
    if pattern is None:
        return text.strip()
    found = re.search(pattern, text)
    if found is None:
        return ""
    return (found[1] if found.re.groups and found[1] is not None else found[0]).strip()


def plain(text: str, references: Sequence[str]) -> Marks:
    """Exact match as it stands, and F1 over words."""
    wanted = [reference.strip() for reference in references]
    return {
        "exact_match": (float(text in wanted), 1.0),
        "f1": (max(word_f1(text.split(), one.split()) for one in wanted), 1.0),
    }


def squad(text: str, references: Sequence[str]) -> Marks:
    """Exact match and F1 as SQuAD normalises (Rajpurkar et al. 2016), the best of the references.

    Lower case; no punctuation, no articles, single spaces. An answer with no words earns its F1
    from a reference without words only.
    """
    said = normalised(text)
    wanted = [normalised(reference) for reference in references]
    return {
        "exact_match": (float(said in wanted), 1.0),
        "f1": (max(word_f1(said.split(), one.split()) for one in wanted), 1.0),
    }


def normalised(text: str) -> str:
    """Return `text` in lower case, without punctuation and articles, with single spaces."""
    letters = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(ARTICLES.sub(" ", letters).split())


def word_f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall over words, each counted once."""
    if not said or not wanted:
        return float(said == wanted)
    same = sum((Counter(said) & Counter(wanted)).values())
    return 2 * same / (len(said) + len(wanted))


def rouge(text: str, references: Sequence[str]) -> Marks:
    """ROUGE F-measures (Lin 2004) by the rouge-score package with stemming, best of references."""
    scorer = rouge_scorer()
    scores = [scorer.score(reference, text) for reference in references]
    return {name: (max(one[name].fmeasure for one in scores), 1.0) for name in ROUGE}


def chrf(text: str, references: Sequence[str]) -> Marks:
    """The n-gram counts of sacrebleu's chrF2 against the reference that fits best."""
    counts = chrf_metric()._extract_corpus_statistics([text], [[one] for one in references])
    return {"chrf": tuple(float(count) for count in counts[0])}


def rouge_scorer() -> Any:
    """Return rouge-score's scorer; raise `ModelError` if it is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise missing("rouge-score") from error
    return RougeScorer(ROUGE, use_stemmer=True)


def chrf_metric() -> Any:
    """Return sacrebleu's chrF2; raise `ModelError` if it is not installed."""
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise missing("sacrebleu") from error
    return CHRF()


def missing(package: str) -> ModelError:
    """Return the error that a package of the evaluation extra is not there."""
    return ModelError(
        f"{package} is not installed",
        fix="pip install -c constraints.txt -e '.[evaluation]'",
    )


MARKERS: dict[str, Callable[[str, Sequence[str]], Marks]] = {
    "plain": plain,
    "squad": squad,
    "rouge": rouge,
    "chrf": chrf,
    "words": words,
    "refusal": refusal,
}
"""How an answer is marked against its references, by name; `code` is marked by running it."""


def check_pattern(pattern: str) -> str:
    """Return `pattern`; raise `RecipeError` if it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"extract: '{pattern}' is no regular expression: {error}", fix="mend it in the recipe"
        ) from error
    return pattern
