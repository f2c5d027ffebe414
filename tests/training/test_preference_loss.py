"""DPO and its kin: the formulas, every layout, and TRL's own loss."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from made_pairs import CPU, SETTINGS, adapted

from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.training.collate import pack, pad, share_prefix
from components.training.pairs import Pairs, collate_pairs
from components.training.preference_loss import (
    LOSSES,
    PairInputs,
    PairLoss,
    Ratios,
    answer_logprobs,
)


def ratios() -> Ratios:
    values = torch.tensor([[0.3, -1.5], [-0.2, 0.4], [2.0, -0.1]], dtype=torch.float64)
    return Ratios(values[:, 0], values[:, 1], torch.tensor([3, 4, 5]), torch.tensor([3, 2, 5]))


def by_hand(loss_type: str, beta: float, smoothing: float) -> list[float]:
    """Return the same losses from the papers' formulas, in plain numbers."""

    def log_sigmoid(x: float) -> float:
        return -math.log1p(math.exp(-x))

    made = []
    for won, lost, n, m in [(0.3, -1.5, 3, 3), (-0.2, 0.4, 4, 2), (2.0, -0.1, 5, 5)]:
        lead, by_token = won - lost, won / n - lost / m
        made.append(
            {
                "sigmoid": -log_sigmoid(beta * lead),
                "sigmoid_norm": -log_sigmoid(beta * by_token),
                "hinge": max(0.0, 1 - beta * lead),
                "ipo": (by_token - 1 / (2 * beta)) ** 2,
                "robust": (
                    -(1 - smoothing) * log_sigmoid(beta * lead)
                    + smoothing * log_sigmoid(-beta * lead)
                )
                / (1 - 2 * smoothing),
            }[loss_type]
        )
    return made


@pytest.mark.parametrize("loss_type", LOSSES)
def test_losses_are_the_papers(loss_type: str) -> None:
    smoothing = 0.2 if loss_type == "robust" else 0.0
    settings = SETTINGS.model_copy(
        update={"loss_type": loss_type, "beta": 0.7, "label_smoothing": smoothing}
    )
    found = LOSSES[loss_type](ratios(), settings)
    assert found.tolist() == pytest.approx(by_hand(loss_type, 0.7, smoothing), rel=1e-6)


def test_every_layout_gives_the_plain_log_probabilities(
    tiny_base: BaseModelFolder, pair_tokens: Tokens, pairs: Pairs, tmp_path: Path
) -> None:
    plain = adapted(tiny_base, pair_tokens, tmp_path, fast=False).get_base_model()
    fast = adapted(tiny_base, pair_tokens, tmp_path).get_base_model()
    batch = list(pairs)
    expected = []
    for pair in batch:
        for row in (pair.chosen, pair.rejected):
            logits = plain(torch.from_numpy(row.input_ids)[None]).logits[0, :-1]
            picked = logits.log_softmax(-1)[range(len(logits)), row.input_ids[1:]]
            expected.append(float(picked[row.labels[1:] != IGNORED].sum().detach()))
    for collate in (share_prefix, pad, pack):
        model = fast if collate is share_prefix else plain
        inputs = collate_pairs(batch, partial(collate, device=CPU))
        found = answer_logprobs(model, inputs, fast=True)
        assert found.tolist() == pytest.approx(expected, abs=2e-4), collate.__name__
    padded = collate_pairs(batch, partial(pad, device=CPU))
    found = answer_logprobs(plain, padded, fast=False)
    assert found.tolist() == pytest.approx(expected, abs=2e-4)


def as_trl(inputs: PairInputs) -> dict[str, torch.Tensor]:
    """Return a padded batch as TRL's trainer takes it: all chosen rows, then all rejected ones."""
    order = [*range(0, len(inputs.counts), 2), *range(1, len(inputs.counts), 2)]
    reference = inputs.reference[order].chunk(2)
    return {
        "input_ids": inputs.arguments["input_ids"][order],
        "attention_mask": inputs.arguments["attention_mask"][order],
        "completion_mask": (inputs.labels != IGNORED).long()[order],
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that has TRL's own trainer compute the loss of a batch."""
    trl = pytest.importorskip("trl", reason="TRL is the reference: pip install trl")
    from datasets import Dataset
    from transformers import AutoTokenizer

    def loss(model: Any, base: BaseModelFolder, inputs: PairInputs, **options: Any) -> Any:
        arguments = trl.DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            precompute_ref_log_probs=False,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            **options,
        )
        row = {"prompt": "a", "chosen": "b", "rejected": "c"}
        trainer = trl.DPOTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list([row]),
            processing_class=AutoTokenizer.from_pretrained(base.model),
        )
        trainer.precompute_ref_logps = True
        found = trainer.compute_loss(trainer.model, as_trl(inputs))
        return found, trainer._metrics["train"]

    return loss


@pytest.mark.parametrize("loss_type", LOSSES)
def test_losses_gradients_and_rewards_are_those_of_trl(
    trl_loss: Any,
    tiny_base: BaseModelFolder,
    pair_tokens: Tokens,
    pairs: Pairs,
    tmp_path: Path,
    loss_type: str,
) -> None:
    options = {"loss_type": loss_type, "beta": 0.3}
    if loss_type == "robust":
        options["label_smoothing"] = 0.1
    ours = adapted(tiny_base, pair_tokens, tmp_path, **options).train()
    theirs = adapted(tiny_base, pair_tokens, tmp_path, fast=False).train()
    loss = PairLoss(SETTINGS.model_copy(update=options), fast=True)
    found = loss(
        ours.get_base_model(), collate_pairs(list(pairs), partial(share_prefix, device=CPU))
    )
    padded = collate_pairs(list(pairs), partial(pad, device=CPU))
    expected, metrics = trl_loss(theirs, tiny_base, padded, **options)
    assert float(found.detach()) / len(pairs) == pytest.approx(float(expected.detach()), rel=1e-4)
    for name, value in loss.measured().items():
        assert value == pytest.approx(metrics[name][0], abs=1e-4), name
    (found / len(pairs)).backward()
    expected.backward()
    wanted = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5)
            compared += 1
    assert compared == 28
