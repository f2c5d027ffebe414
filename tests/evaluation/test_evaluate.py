"""Base and tuned on the same items."""

from pathlib import Path

import pytest

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Tokens
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import EvaluationSettings
from components.scoring.tables import read_scores
from components.training.settings import TrainingSettings
from components.training.train import train


@pytest.fixture
def adapter(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> Adapter:
    settings = TrainingSettings(learning_rate=2e-2, warmup_steps=2, num_train_epochs=5, bf16=False)
    return train(tiny_base, tiny_tokens, settings, out=tmp_path / "adapter", context=context)


def test_training_shows_in_the_scores(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tiny_tokens: Tokens,
    adapter: Adapter,
    context: Context,
    tmp_path: Path,
) -> None:
    found = evaluate(
        tiny_base,
        dataset,
        tiny_tokens,
        adapter,
        EvaluationSettings(max_samples=20),
        out=tmp_path / "evaluation",
        context=context,
    )
    assert found.facts["items"] == {"split": "test", "limit": 20, "texts": None, "count": 20}
    base, tuned = found.facts["models"]["base"], found.facts["models"]["tuned"]
    assert tuned["answer_loss"] < 0.3 * base["answer_loss"]
    assert tuned["exact_match"] == 1.0
    assert base["exact_match"] < 0.5
    ids = [[s.id for s in read_scores(found.scores(name))] for name in ("base", "tuned")]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 20
