from pathlib import Path

import numpy as np
import pytest

from components.contracts.errors import ModelError
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.model.merge import load_merged
from components.model.torch_lm import TorchLM
from components.runtime import ort
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM
from components.runtime.session import check_packages

IDS = np.random.default_rng(0).integers(3, 250, (3, 12))
VARIANTS = ["fp32", "int8", "int4"]


@pytest.fixture(scope="module", params=VARIANTS)
def lm(tiny_onnx: Onnx, request: pytest.FixtureRequest) -> OrtLM:
    return OrtLM(tiny_onnx.variant(request.param), threads=1)


def close(found: np.ndarray, expected: np.ndarray, atol: float = 1e-4) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=atol)


def test_fp32_is_the_merged_model_in_torch(
    tiny_onnx: Onnx, tiny_base: BaseModelFolder, tiny_adapter: Adapter
) -> None:
    expected, _ = TorchLM(load_merged(tiny_base.model, tiny_adapter.model)[0]).forward(IDS)
    close(OrtLM(tiny_onnx.variant("fp32")).forward(IDS)[0], expected)


def test_reading_on_after_a_cache_is_reading_at_once(lm: OrtLM) -> None:
    whole, _ = lm.forward(IDS[:1])
    first, past = lm.forward(IDS[:1, :5])
    several, past = lm.forward(IDS[:1, 5:9], past)
    one, _ = lm.forward(IDS[:1, 9:10], past)
    close(np.concatenate([first, several, one], axis=1), whole[:, :10])


def test_rows_of_a_batch_do_not_touch_each_other(lm: OrtLM) -> None:
    batch, _ = lm.forward(IDS)
    for row in range(len(IDS)):
        close(lm.forward(IDS[row : row + 1])[0], batch[row : row + 1])


def test_a_batch_goes_on_after_its_cache(lm: OrtLM) -> None:
    whole, _ = lm.forward(IDS)
    _, past = lm.forward(IDS[:, :5])
    logits, after = lm.forward(IDS[:, 5:9], past)
    close(logits, whole[:, 5:9])
    assert after.lengths.tolist() == [9] * len(IDS)
    close(lm.forward(IDS[:, 9:10], after)[0], whole[:, 9:10])


def test_a_batch_goes_on_after_a_cache_of_one_row(lm: OrtLM) -> None:
    rows = np.concatenate([np.repeat(IDS[:1, :5], 3, axis=0), IDS[:, 5:10]], axis=1)
    whole, _ = lm.forward(rows)
    _, past = lm.forward(rows[:1, :5])
    logits, after = lm.forward(rows[:, 5:9], past)
    close(logits, whole[:, 5:9])
    assert after.lengths.tolist() == [9] * len(rows)
    close(lm.forward(rows[:, 9:], after)[0], whole[:, 9:])
    close(lm.forward(rows[:, 5:6], past)[0], whole[:, 5:6])


def exact(lm: OrtLM) -> bool:
    return lm.session._model_path.endswith("fp32/model.onnx")


@pytest.mark.parametrize("shared", [0, 1, 6])
def test_rows_of_any_length_behind_one_prefix(lm: OrtLM, shared: int) -> None:
    prefix = IDS[0, :shared]
    rows = [IDS[0, 6:], IDS[1, :3], IDS[2, :1], IDS[1, 3:9]]
    keep = [2, 3, 1, 6]
    found = dict(lm.read(prefix.tolist(), [row.tolist() for row in rows], keep))
    assert sorted(found) == [0, 1, 2, 3]
    for index, (row, kept) in enumerate(zip(rows, keep, strict=True)):
        whole, _ = lm.forward(np.concatenate([prefix, row])[None])
        # Products of rounded weights round activations too: one that lies half-way between two
        # steps goes the other way for a last bit that another order of sums has changed.
        close(found[index], whole[0, -kept:], 1e-4 if exact(lm) else 0.05)


def test_rows_longer_than_the_context_are_refused(lm: OrtLM) -> None:
    with pytest.raises(ModelError, match=f"context of {lm.context_length}"):
        list(lm.read([5] * 10, [[6] * (lm.context_length - 9)], [1]))


def test_last_only_is_the_last_position(lm: OrtLM) -> None:
    whole, past = lm.forward(IDS[:, :6])
    close(lm.forward(IDS[:, :6], last_only=True)[0], whole[:, -1:])
    more, _ = lm.forward(IDS[:, 6:9], past)
    close(lm.forward(IDS[:, 6:9], past, last_only=True)[0], more[:, -1:])


def test_a_cache_can_be_continued_in_several_ways(lm: OrtLM) -> None:
    _, past = lm.forward(IDS[:1, :5])
    before, _ = lm.forward(IDS[:1, 5:6], past)
    kept = before.copy()
    lm.forward(IDS[1:2, 5:9], past)
    again, _ = lm.forward(IDS[:1, 5:6], past)
    np.testing.assert_array_equal(again, kept)
    np.testing.assert_array_equal(before, kept)  # later runs do not write into earlier results


def test_a_text_longer_than_the_context_is_refused(lm: OrtLM) -> None:
    with pytest.raises(ModelError, match=f"context of {lm.context_length}"):
        lm.forward(np.ones((1, lm.context_length + 1), np.int64))


def test_cuda_without_cuda_is_an_error(tiny_onnx: Onnx) -> None:
    with pytest.raises(ModelError, match="no CUDAExecutionProvider"):
        OrtLM(tiny_onnx.variant("fp32"), device="cuda")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_falling_back_to_the_cpu_is_an_error(
    tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    # As onnxruntime-gpu does on a machine without CUDA: lists it all the same.
    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with pytest.raises(ModelError, match="would run on CPUExecutionProvider"):
        OrtLM(tiny_onnx.variant("fp32"), device="cuda")


@pytest.mark.parametrize(
    ("installed", "problem"),
    [(["onnxruntime", "onnxruntime-gpu"], "both installed"), (["numpy"], "not installed")],
)
def test_one_distribution_of_the_runtime_is_needed(installed: list[str], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        check_packages(installed)


def test_either_distribution_is_enough() -> None:
    check_packages(["onnxruntime", "onnxruntime-genai"])
    check_packages(["onnxruntime-gpu", "numpy"])


def test_a_folder_that_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="genai_config"):
        OrtLM(tmp_path)


def test_a_broken_graph_is_named(tiny_onnx: Onnx, tmp_path: Path) -> None:
    config = tiny_onnx.variant("fp32") / "genai_config.json"
    (tmp_path / config.name).write_bytes(config.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="cannot open"):
        OrtLM(tmp_path)


def test_a_long_row_read_in_pieces_is_the_row_read_whole(
    tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = OrtLM(tiny_onnx.variant("fp32"))
    ids = np.random.default_rng(3).integers(5, 90, (1, 23))
    whole, after = lm.forward(ids)
    monkeypatch.setattr(ort, "PIECE", 6)
    pieces, cache = lm.forward(ids, last_only=True)
    np.testing.assert_allclose(pieces[0, -1], whole[0, -1], atol=1e-4)
    assert cache.length == after.length == 23
    kept = dict(lm.read((), [ids[0].tolist()], [9]))[0]
    np.testing.assert_allclose(kept, whole[0, -9:], atol=1e-4)


def test_a_cache_grows_as_the_answer_does(tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = OrtLM(tiny_onnx.variant("fp32"))
    prompt, how = [1, 40, 41, 99], Generation(max_new_tokens=20)
    expected = list(generate(lm, prompt, how))
    monkeypatch.setattr(ort, "ROOM", 3)
    assert lm.begin((), [prompt], 20)[1].places == len(prompt) + 3
    assert list(generate(lm, prompt, how)) == expected
