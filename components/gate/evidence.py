"""What the gate looks at: scores by item, paired comparisons of tasks, and the verification."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.contracts.errors import RecipeError, did_you_mean
from components.contracts.kinds import Evaluation, Verification
from components.gate.kept import paired_of
from components.gate.settings import GateSettings
from components.scoring.comparison import Comparison, compare
from components.scoring.items import Score
from components.scoring.paired import Paired
from components.scoring.preference import ImplicitReward, implicit_reward
from components.scoring.tables import read_scores
from components.scoring.text_comparison import TextComparison, compare_texts, resamples_for

CHAMPION = "champion"


@dataclass(frozen=True)
class Evidence:
    """What the checks look at. `champion` is empty where none answered the held-out rows.

    `paired` holds the comparisons of the file to ship by reference and task; `tasks` and `guards`
    are the facts of what the evaluation asked, and `figures` those of the file to ship, by name;
    `champion_facts` is what the verification says of the champion.
    """

    base: list[Score]
    tuned: list[Score]
    shipped: list[Score]
    parity: dict[str, Any]
    settings: GateSettings
    preference: bool = False
    champion: list[Score] = field(default_factory=list)
    champion_facts: Mapping[str, Any] = field(default_factory=dict)
    paired: Mapping[str, Mapping[str, Paired]] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)
    guards: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> bool:
        """Whether the rows are plain text: nothing was asked, so nothing was answered."""
        return not any(score.answer_tokens for score in self.shipped)

    @cached_property
    def gain(self) -> Comparison | TextComparison:
        return self.against(self.base)

    @cached_property
    def cost(self) -> Comparison:
        return compare(self.shipped, self.tuned)

    @cached_property
    def text_cost(self) -> TextComparison:
        return compare_texts(self.shipped, self.tuned)

    @cached_property
    def against_champion(self) -> Comparison | TextComparison:
        return self.against(self.champion, own_tokens=self.own_tokens)

    @property
    def own_tokens(self) -> bool:
        """Whether the champion read the same words in tokens of its own."""
        return bool(self.champion_facts.get("own_tokens"))

    @cached_property
    def reward(self) -> ImplicitReward:
        return implicit_reward(self.shipped, self.base)

    def against(
        self, reference: list[Score], *, own_tokens: bool = False
    ) -> Comparison | TextComparison:
        """Compare the file to ship by what these rows are judged by: right answers, or bits."""
        if not self.text:
            return compare(self.shipped, reference)
        resamples = resamples_for(self.settings.alpha)
        return compare_texts(self.shipped, reference, resamples=resamples, own_tokens=own_tokens)


def gather(evaluation: Evaluation, verification: Verification, settings: GateSettings) -> Evidence:
    """Return the evidence on `settings.ship`; raise `RecipeError` if no such file was exported."""
    variants, ship = verification.facts["variants"], settings.ship
    if ship not in variants:
        raise RecipeError(
            f"gate.ship is '{ship}', which was not exported{did_you_mean(ship, variants)}",
            fix=f"use one of: {', '.join(variants)}, or add it to export.variants",
        )
    champion = verification.facts.get(CHAMPION, {})
    told = evaluation.facts
    asked = {name: told["tasks"][name] for name in told.get("task_names", ())}
    return Evidence(
        base=read_scores(evaluation.scores("base")),
        tuned=read_scores(evaluation.scores("tuned")),
        shipped=read_scores(verification.scores(ship)),
        parity=verification.facts["parity"],
        settings=settings,
        preference="preference" in told,
        champion=read_scores(verification.scores(CHAMPION)) if champion.get("compared") else [],
        champion_facts=champion,
        paired=comparisons_of(ship, verification.facts.get("comparisons", {})),
        tasks={name: one for name, one in asked.items() if not one.get("guard")},
        guards={name: one for name, one in asked.items() if one.get("guard")},
        figures=variants[ship].get("tasks", {}),
    )


def comparisons_of(model: str, told: Mapping[str, Any]) -> dict[str, dict[str, Paired]]:
    """Return the comparisons of one model by reference and task."""
    found: dict[str, dict[str, Paired]] = {}
    for pair, several in told.items():
        name, _, reference = pair.partition(" against ")
        if name == model:
            found[reference] = {one["task"]: paired_of(one) for one in several}
    return found
