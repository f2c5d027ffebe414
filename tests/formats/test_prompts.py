"""Settings of a format whose prompt would leave something out."""

from typing import Any

import pytest
from made_examples import settings
from pydantic import ValidationError

LABEL = {"column": "label", "names": ["bad", "good"]}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"kind": "classification", "label": LABEL, "template": "Rate."},
            r"template must contain \{text\}",
        ),
        ({"kind": "alpaca", "template": "{instruction}"}, r"template must contain \{input\}"),
        ({"kind": "alpaca", "template_without_input": "x"}, "template_without_input must contain"),
        ({"kind": "question_answering", "template": "{question}"}, r"contain \{context\}"),
        ({"kind": "summarization", "template": "{documnt}"}, r"contain \{document\}"),
        ({"kind": "translation", "template": "{target}"}, r"contain \{source\}"),
        (
            {"kind": "translation", "template": "{source} {target_language}"},
            "so target_language is needed",
        ),
        ({"kind": "translation", "translation": "t"}, "needs source_language"),
        (
            {"kind": "translation", "source_language": "en", "target_language": "en"},
            "must differ",
        ),
    ],
)
def test_a_prompt_that_leaves_something_out_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(values)
