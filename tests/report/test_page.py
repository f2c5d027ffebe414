"""The page of a made-up run: every section, nothing from outside, text as text."""

import re
from pathlib import Path

import pytest
import yaml
from made_run import EVIL, made_run, speeds

from components.contracts.events import Context
from components.report.figures import ran_in
from components.report.line import Line, Page
from components.report.render import page_html
from components.report.report import report
from components.report.samples import marked
from components.report.sections import SECTIONS, build
from components.report.settings import ReportSettings

TEMPLATES = Path(__file__).parents[2] / "components" / "report" / "templates" / "sections"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return made_run(tmp_path_factory.mktemp("full") / "run", tasks=True)


@pytest.fixture(scope="module")
def page(line: Line) -> str:
    return page_html(Page(line, ReportSettings(samples=5), speeds()))


def text_of(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, re.S)
    assert found, name
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


def test_every_section_has_a_template_and_the_other_way_round() -> None:
    assert {f"{one.name}.html.j2" for one in SECTIONS} == {f.name for f in TEMPLATES.iterdir()}


def test_all_that_is_known_is_shown_verdict_first(page: str) -> None:
    shown = re.findall(r'<section id="(\w+)"', page)
    assert shown == [one.name for one in SECTIONS if one.name != "judged"]  # nobody was asked
    assert re.findall(r'<a href="#(\w+)"', page.partition("<nav")[2]) == shown
    assert "May not become champion: int8" in page
    assert "✗ fail general got worse" in text_of(page, "verdict")
    assert "writing is better" in text_of(page, "tasks")
    assert "90.0 % (80.0…100.0)" in text_of(page, "tasks")
    guards = text_of(page, "guards")
    assert "✗ fail general f1 90.0 % (80.0…100.0) 20.0 % (10.0…30.0)" in guards
    assert "as good as the champion" in text_of(page, "champion")
    assert "77.0" in text_of(page, "speed")
    assert "Chinese" in text_of(page, "bias")
    assert "← worst" in text_of(page, "slices")
    assert page.count("<svg") == 3


def test_every_file_names_the_provider_that_ran_it(page: str) -> None:
    assert "ONNX Runtime, CPU" in text_of(page, "models")
    assert ran_in({}) == "ONNX Runtime"
    split = {"ran_on": {"CPUExecutionProvider": 3, "CUDAExecutionProvider": 340}}
    assert ran_in(split) == "ONNX Runtime, 3 nodes CPU, 340 nodes CUDA"


def test_nothing_comes_from_outside_and_text_stays_text(page: str) -> None:
    for outside in ("<script", "<link", "src=", "@import", "url(http", 'href="http'):
        assert outside not in page
    assert EVIL not in page
    assert "&lt;script&gt;alert(" in page


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    line = made_run(tmp_path / "run")
    names = [one["name"] for one in build(Page(line, ReportSettings()))]
    assert not {"tasks", "guards", "champion", "bias", "speed"} & set(names)
    assert names[0] == "verdict"
    assert names[-1] == "lineage"


def test_confusion_counts_every_item_once(line: Line) -> None:
    found = next(one for one in build(Page(line, ReportSettings())) if one["name"] == "confusion")
    counts = found["has"]["counts"]
    assert sum(map(sum, counts)) == 90
    right = sum(score.right for score in line.scores("int8"))
    assert sum(counts[n][n] for n in range(3)) == right


def test_samples_show_what_was_written_with_the_differences(page: str) -> None:
    samples = page[page.index('<section id="samples"') :]
    assert "it is <del>hard to say</del><ins>" in samples
    assert samples.count('aria-label="right"') > 0


def test_words_that_differ_are_marked() -> None:
    assert marked("a b c", "a x c") == [("same", "a "), ("gone", "b"), ("new", "x"), ("same", " c")]
    assert marked("same", "same") == [("same", "same")]
    assert marked("", "new") == [("new", "new")]


def test_the_artefact_holds_no_times_and_is_the_same_again(line: Line, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        context = Context(tmp_path, tmp_path)
        inputs = line.artefacts.values()
        settings = ReportSettings(samples=4)
        made.append(report(*inputs, settings, out=tmp_path / name, context=context))  # type: ignore[arg-type]
    assert made[0].files == made[1].files
    page = made[0].page.read_text(encoding="utf-8")
    assert "tokens/s" not in page
    assert {
        "plots/curve.csv",
        "plots/models.csv",
        "plots/confusion.csv",
        "plots/slices.csv",
    } <= set(made[0].files)
    graph = yaml.safe_load((TEMPLATES.parents[3] / "dvc.yaml").read_text(encoding="utf-8"))
    drawn = {place.partition("/report/")[2] for one in graph["plots"] for place in one}
    assert drawn == {name for name in made[0].files if name.startswith("plots/")}
    confusion = (made[0].path / "plots" / "confusion.csv").read_text(encoding="utf-8")
    assert confusion.count("\n") == 91
