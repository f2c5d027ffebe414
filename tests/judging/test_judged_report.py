"""The report's section: there when people have judged, and clear about whose answers they were."""

from pathlib import Path

from made_sheet import made_line, made_sheet

from components.contracts.artefacts import Artefact
from components.contracts.events import Context
from components.judging.ratings import rated
from components.judging.sheet import Wish, make_sheet
from components.report.judged import judged_rows
from components.report.report import render

ORDER = ("base", "int8")


def test_nothing_is_shown_before_anybody_has_judged(tmp_path: Path) -> None:
    made_sheet(tmp_path / "base-vs-int8").write_result()
    assert judged_rows(tmp_path, {}) == []
    assert judged_rows(tmp_path / "none", {}) == []
    assert judged_rows(None, {}) == []


def test_the_section_says_who_was_preferred_and_of_which_answers(
    tmp_path: Path, context: Context
) -> None:
    line = made_line(tmp_path / "data")
    folder = tmp_path / "judged" / "base-vs-int8"
    sheet = make_sheet(line, Wish(ORDER, samples=12), folder, context)
    sheet.add([rated(pair, "Ann", ORDER, "int8") for pair in sheet.pairs])
    sheet.add([rated(pair, "<Bob>", ORDER, "int8") for pair in sheet.pairs[:3]])
    artefacts: dict[str, Artefact] = {
        "evaluation": line.evaluation,
        "verification": line.verification,
    }
    rows = judged_rows(tmp_path / "judged", artefacts)
    page = render("sections/judged.html.j2", {"has": {"rows": rows}})
    assert "int8 against base: 12 won, 0 lost, 0 ties of 12 items" in page
    assert "100.0 %" in page
    assert "Raters agree on 3 of 3 items" in page
    assert "8 of 24 items were answered alike" in page
    assert "earlier model" not in page
    assert "<Bob>" not in page

    again = made_line(tmp_path / "again", count=23)
    rows = judged_rows(tmp_path / "judged", {**artefacts, "evaluation": again.evaluation})
    assert "answers of an earlier model" in render(
        "sections/judged.html.j2", {"has": {"rows": rows}}
    )
