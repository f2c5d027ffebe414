"""The CSV sheet: what comes back is checked row by row, and all or nothing is taken."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from made_sheet import made_pairs, made_sheet

from components.contracts.errors import DataError
from components.judging.pairs import Pair
from components.judging.ratings import standing
from components.judging.sheet import Sheet
from components.judging.table import COLUMNS, read_table, write_table

Rows = list[dict[str, str]]


def fill(sheet: Sheet, file: Path, change: Callable[[Rows], None], delimiter: str = ",") -> Path:
    """Export for ann, change the rows as a spreadsheet would, and save."""
    write_table(sheet, "ann", file)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, rows[0], delimiter=delimiter, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return file


def choose_new(rows: Rows) -> None:
    for row in rows:
        row["choice"] = "1" if row["answer_1"].startswith("new") else "2"


def choices(sheet: Sheet) -> list[str | None]:
    return [said.choice for said in standing(sheet.ratings()).values()]


def test_the_sheet_names_no_model(tmp_path: Path) -> None:
    sheet = made_sheet(tmp_path / "sheet")
    write_table(sheet, "ann", tmp_path / "ann.csv")
    text = (tmp_path / "ann.csv").read_text(encoding="utf-8-sig")
    assert text.startswith(",".join(COLUMNS))
    assert "base" not in text
    assert "int8" not in text
    assert text.count("Question") == 10


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_there_and_back(tmp_path: Path, delimiter: str) -> None:
    sheet = made_sheet(tmp_path / "sheet")

    def change(rows: Rows) -> None:
        choose_new(rows)
        rows[3]["choice"], rows[4]["choice"] = " 0 ", ""
        rows.reverse()

    found = read_table(sheet, "ann", fill(sheet, tmp_path / "a.csv", change, delimiter))
    sheet.add(found.ratings)
    assert (len(found.ratings), found.empty) == (9, 1)
    assert sorted(map(str, choices(sheet))) == ["int8"] * 8 + ["tie"]
    write_table(sheet, "ann", tmp_path / "again.csv")
    again = read_table(sheet, "ann", tmp_path / "again.csv")
    assert (again.ratings, again.unchanged, again.empty) == ([], 9, 1)


def test_changed_choices_count_anew_and_columns_may_be_swapped(tmp_path: Path) -> None:
    sheet = made_sheet(tmp_path / "sheet")
    sheet.add(read_table(sheet, "ann", fill(sheet, tmp_path / "a.csv", choose_new)).ratings)

    def swap(rows: Rows) -> None:
        for row in rows:
            row["answer_1"], row["answer_2"] = row["answer_2"], row["answer_1"]
            row["choice"] = "1" if row["answer_1"].startswith("old") else "2"

    found = read_table(sheet, "ann", fill(sheet, tmp_path / "b.csv", swap))
    assert found.changed == 10
    assert {said.choice for said in found.ratings} == {"base"}


def test_every_wrong_row_is_told_and_none_is_taken(tmp_path: Path) -> None:
    sheet = made_sheet(tmp_path / "sheet")

    def spoil(rows: Rows) -> None:
        choose_new(rows)
        rows[0]["choice"] = "3"
        rows[1]["pair"] = rows[1]["pair"][:-1] + "x"
        rows[2]["answer_1"] = "something else"
        rows[3]["pair"] = rows[4]["pair"]
        rows.append(dict(rows[5]))

    with pytest.raises(DataError) as caught:
        read_table(sheet, "ann", fill(sheet, tmp_path / "a.csv", spoil))
    told = str(caught.value)
    assert "5 rows are wrong" in told
    assert "row 2: choice is '3'" in told
    assert "row 3: pair" in told
    assert "did you mean" in told
    assert "row 4: the answers are not those of this pair" in told
    assert "row 5: the answers are not those" in told
    assert "row 12: pair" in told
    assert "comes twice" in told
    assert choices(sheet) == []


def test_a_file_that_is_not_the_sheet(tmp_path: Path) -> None:
    sheet = made_sheet(tmp_path / "sheet")
    file = tmp_path / "x.csv"
    file.write_text("pair;prompt;answer_1;answer_2;choise\n")
    with pytest.raises(DataError, match=r"no column choice .*did you mean 'choise'"):
        read_table(sheet, "ann", file)
    file.write_bytes("pair,prompt,answer_1,answer_2,choice\nü".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_table(sheet, "ann", file)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(sheet, "ann", tmp_path / "none.csv")


def test_answers_that_look_like_formulas_are_text_and_come_back(tmp_path: Path) -> None:
    hard = Pair(
        "hard",
        ({"role": "user", "content": '=HYPERLINK("x")\r\n"quoted", and\tmore'},),
        {"base": "=1+1", "int8": "-2, \"or\"\nso; 'quoted'"},
    )
    other = Pair("other", made_pairs(1)[0].prompt, {"base": "'=1+1", "int8": "@x"})
    sheet = made_sheet(tmp_path / "sheet", pairs=[hard, other])
    write_table(sheet, "ann", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]

    def change(rows: Rows) -> None:
        for row in rows:
            row["choice"] = "1"
            row["answer_2"] = row["answer_2"].removeprefix("'").replace("\n", "\r\n")

    assert len(read_table(sheet, "ann", fill(sheet, tmp_path / "b.csv", change)).ratings) == 2
