"""The graph stands once, in dvc.yaml; what is read of it is what stands there."""

import shutil
from pathlib import Path

import pytest
import yaml
from toy_project import STAGES, Toy

from components.contracts.errors import RecipeError
from flows.graph import changed_stages, read_graph
from flows.locked import locked_hashes
from flows.steps import STEPS

REPOSITORY = Path(__file__).parents[2]


def test_stages_come_after_what_they_read_from(toy: Toy) -> None:
    stages = read_graph(toy.root, "toy")

    assert {stage.name for stage in stages} == set(STAGES)
    seen: set[str] = set()
    for stage in stages:
        assert set(stage.upstream) <= seen
        seen.add(stage.name)
    upstream = {stage.name: stage.upstream for stage in stages}
    assert upstream["train"] == ("fetch", "ingest")
    assert upstream["gate"] == ("evaluate", "verify")


def test_meta_gives_the_options(toy: Toy) -> None:
    train = next(stage for stage in read_graph(toy.root, "toy") if stage.name == "train")

    assert train.address == "train@toy"
    assert train.options.gpu is True
    assert (train.options.retries, train.options.timeout_s) == (1, 30)


def test_a_wrong_option_is_told(toy: Toy) -> None:
    graph = toy.root / "dvc.yaml"
    text = graph.read_text(encoding="utf-8").replace("gpu: true", "gpus: 2")
    graph.write_text(text, encoding="utf-8")

    with pytest.raises(RecipeError, match=r"dvc.yaml: train: meta: gpus.*\n.*allowed keys: gpu"):
        read_graph(toy.root, "toy")


def test_a_recipe_without_stages_is_told(toy: Toy) -> None:
    with pytest.raises(RecipeError, match="no stage for recipe 'other'"):
        read_graph(toy.root, "other")


def test_before_the_first_run_all_has_changed(toy: Toy) -> None:
    assert set(changed_stages(toy.root, "toy")) == set(STAGES)


def test_options_are_no_change_but_behaviour_and_lost_outputs_are(made: Toy) -> None:
    toy = made
    assert changed_stages(toy.root, "toy") == {}
    graph = toy.root / "dvc.yaml"
    text = graph.read_text(encoding="utf-8").replace("retries: 1", "retries: 5")
    graph.write_text(text, encoding="utf-8")
    assert changed_stages(toy.root, "toy") == {}
    toy.turn("evaluate", "otherwise")
    assert list(changed_stages(toy.root, "toy")) == ["evaluate"]
    shutil.rmtree(toy.root / "data/toy/raw")
    assert "ingest" in changed_stages(toy.root, "toy")


def test_the_lock_gives_the_hash_of_each_output(toy: Toy, made: Toy) -> None:
    assert locked_hashes(toy.root, "toy") == {}

    hashes = locked_hashes(made.root, "toy")
    assert set(hashes) == set(STAGES)
    assert all(md5.endswith(".dir") for md5 in hashes.values())
    assert locked_hashes(made.root, "other") == {}


def test_the_real_graph_and_the_steps_say_the_same() -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    assert list(stages) == list(STEPS)
    for name, step in STEPS.items():
        stage = stages[name]
        assert stage["cmd"] == f"python -m flows.stage {name} ${{item.recipe}}"
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
        assert outs == [f"data/${{item.recipe}}/{step.output}"]
        assert stage["params"] == [{"recipes/${item.recipe}.yaml": list(step.sections)}]
        data = {d.rsplit("/", 1)[1] for d in stage["deps"] if d.startswith("data/${item.recipe}/")}
        assert data == {*step.inputs, *step.beside}
        code = [d for d in stage["deps"] if not d.startswith("data/")]
        assert stage["deps"] == sorted(code) + sorted(set(stage["deps"]) - set(code))
        assert stage["desc"]
