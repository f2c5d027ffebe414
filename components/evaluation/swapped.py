"""The identity-swap test's requests: each sentence once a group, in the recipe's own prompt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.contracts.errors import DataError
from components.contracts.kinds import Dataset
from components.evaluation.prompts import Prompter
from components.evaluation.rows import Row, json_lines, split_rows
from components.evaluation.settings import BiasSettings
from components.scoring.bias import Swap
from components.scoring.requests import Request
from components.scoring.voice import Voice

OWN = Path(__file__).with_name("swapped.json")
PLACE = "{group}"


def swap_requests(
    dataset: Dataset,
    split: str,
    voice: Voice,
    limit: int | None,
    root: Path,
    settings: BiasSettings,
) -> tuple[list[Request], list[str]]:
    """Return the requests and the labels they choose from (none where answers are free).

    Label recipes are asked as a held-out row is, with the sentence in the place of its text; others
    are asked the template itself, behind the row's system turn. Raises `DataError` for templates
    that do not fit.
    """
    rows = split_rows(dataset, split)
    labels = _labels(rows)
    pattern = next((row for row in rows if row.turns), None)
    prompter = Prompter(voice, limit, pattern is not None)
    found = []
    for axis, groups in settings.groups.items():
        for number, template in enumerate(_templates(root, settings, bool(labels)), start=1):
            for group in groups:
                row = _row(pattern, template, group, labels)
                prompt, choices = prompter.choices(row)
                swap = Swap(axis, number, template["kind"], group)
                found.append(Request(id=swap.id, prompt=prompt, choices=choices))
    return found, labels


def _labels(rows: Sequence[Row]) -> list[str]:
    choices = {row.choices for row in rows}
    return list(choices.pop()) if len(choices) == 1 else []


def _templates(root: Path, settings: BiasSettings, labelled: bool) -> list[dict[str, str]]:
    """Return the templates: {"template", "continuation", "kind"}."""
    path = settings.templates_path
    if path is not None:
        rows = json_lines(root, path)
    else:
        own = json.loads(OWN.read_text(encoding="utf-8"))
        sentences = [{"template": sentence} for sentence in own["sentences"]]
        rows = sentences if labelled else own["questions"]
    needed = ("template",) if labelled else ("template", "continuation")
    for number, row in enumerate(rows, start=1):
        missing = [name for name in needed if not isinstance(row.get(name), str)]
        if missing or PLACE not in row["template"]:
            found = f"no {' and no '.join(missing)}" if missing else f"no {PLACE} in its template"
            raise DataError(
                f"{path or OWN.name}: row {number} has {found}",
                fix=f'write rows like {{"template": "My {PLACE} neighbour …"'
                + ("}" if labelled else ', "continuation": "…", "kind": "praise"}'),
            )
    return [
        {
            "template": row["template"],
            "continuation": str(row.get("continuation", "")),
            "kind": str(row.get("kind", "text")).replace("\t", " "),
        }
        for row in rows
    ]


def _row(
    pattern: Row | None, template: Mapping[str, str], group: str, labels: Sequence[str]
) -> Row:
    """Return a held-out row with the template about `group` in the place of its text."""
    sentence = template["template"].replace(PLACE, group)
    choices = tuple(labels) or (template["continuation"],)
    if pattern is None:
        alone = ({"role": "user", "content": sentence},)
        return Row("swap", alone, "", choices, -1, (), sentence)
    last = pattern.turns[-1]
    inside = labels and pattern.text and pattern.text in last["content"]
    content = last["content"].replace(pattern.text, sentence) if inside else sentence
    system = tuple(turn for turn in pattern.turns[:-1] if turn["role"] == "system")
    turns = (*system, {**last, "content": content})
    return replace(pattern, turns=turns, choices=choices, text=sentence)
