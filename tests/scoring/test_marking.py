"""Marks by hand and by the packages that define them."""

import numpy as np
import pytest

from components.scoring.marking import MARKERS, extract, normalised, plain, squad
from components.scoring.measures import MEASURES, as_marks
from components.scoring.sandbox import Limits, pass_at_k, passes, passing, program_of


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("  yes \n", None, "yes"),
        ("The answer is 42.", r"answer is (\d+)", "42"),
        ("The answer is 42.", r"\d", "4"),
        ("nothing", r"\d", ""),
        ("b", r"(a)|b", "b"),
    ],
)
def test_extraction(text: str, pattern: str | None, found: str) -> None:
    assert extract(text, pattern) == found


def test_squad_normalises() -> None:
    assert normalised("The  Cat, sat on a mat!") == "cat sat on mat"
    marks = squad("The Cat!", ["a dog", "cat"])
    assert marks["exact_match"] == (1.0, 1.0)
    assert squad("big black cat", ["a cat"])["f1"][0] == pytest.approx(0.5)
    assert squad("the", ["an"])["f1"][0] == 1.0
    assert squad("the", ["cat"])["f1"][0] == 0.0


def test_plain_is_as_it_stands() -> None:
    assert plain("Cat", ["cat"])["exact_match"][0] == 0.0
    assert plain("cat", [" cat "])["exact_match"][0] == 1.0
    assert plain("a b b", ["b b c"])["f1"][0] == pytest.approx(2 / 3)


def test_rouge_is_rouge_scores() -> None:
    scoring = pytest.importorskip("rouge_score.rouge_scorer", reason="the dev extra has it")
    text, references = "the cats sat there", ["a cat sat", "the cats were sitting there"]
    found = MARKERS["rouge"](text, references)
    scorer = scoring.RougeScorer(["rouge1", "rougeLsum"], use_stemmer=True)
    for name in ("rouge1", "rougeLsum"):
        best = max(scorer.score(one, text)[name].fmeasure for one in references)
        assert found[name] == (pytest.approx(best), 1.0)


def test_chrf_is_sacrebleus_over_the_whole_set() -> None:
    sacrebleu = pytest.importorskip("sacrebleu", reason="the dev extra has it")
    said = ["the cat sat on the mat", "a naïve façade", "", "bread and salt"]
    wanted = ["the cat is on the mat", "the naive façade", "nothing", "bread and salt"]
    marks = as_marks([MARKERS["chrf"](s, [w])["chrf"] for s, w in zip(said, wanted, strict=True)])
    expected = sacrebleu.corpus_chrf(said, [wanted]).score / 100
    assert float(MEASURES["chrf"].value(marks.sum(0))) == pytest.approx(expected, abs=1e-12)
    assert float(MEASURES["chrf"].value(np.zeros(18))) == 0.0


LIMITS = Limits(timeout=5.0, memory=1 << 29, workers=2)


def test_programs_pass_or_fail_by_their_tests() -> None:
    good = "def double(x):\n    return 2 * x\n"
    test = "def check(f):\n    assert f(2) == 4\n"
    programs = [
        program_of("def double(x):\n", "    return 2 * x\n", test, "double"),
        program_of("def double(x):\n", "    return x * x + 1\n", test, "double"),
        program_of("", f"Sure:\n```python\n{good}```\nDone.", test, "double"),
        program_of("def double(x):\n", "    return (", test, "double"),
    ]
    assert passing(programs, LIMITS) == [True, False, True, False]


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "x = bytearray(2 << 30)",
        "open('big', 'wb').write(b'0' * 2_000_000)",
        "import os; assert os.environ.get('HOME')",
        "raise SystemExit(3)",
        "raise SystemExit(0)",
        "import os; os._exit(0)",
    ],
    ids=["loop", "sleep", "memory", "disk", "environment", "exit", "early", "at once"],
)
def test_programs_are_bounded(program: str) -> None:
    assert not passes(program, Limits(timeout=1.5, memory=1 << 29))


def test_programs_have_no_network_where_the_system_allows_that() -> None:
    probe = "import sys; sys.path[:0] = [{!r}]\nfrom isolate import leave_network\n{}"
    folder = str(__import__("components.scoring.sandbox", fromlist=["CHILD"]).CHILD.parent)
    if not passes(probe.format(folder, "assert leave_network()"), LIMITS):
        pytest.skip("this system does not let a process leave its network")
    names = "import socket; assert [n for _, n in socket.if_nameindex()] == ['lo']"
    assert passes(names, LIMITS)


def test_pass_at_k_is_the_unbiased_estimate() -> None:
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert pass_at_k(5, 2, 2) == pytest.approx(1 - (3 / 5) * (2 / 4))
    assert pass_at_k(3, 2, 2) == 1.0
