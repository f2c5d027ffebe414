"""Translation: chrF2 over the whole set (Popović 2015), as sacrebleu computes it."""

from components.evaluation.settings import WritingTask
from components.evaluation.tasks.writing import make_plan, requests
from components.scoring.requests import Plan

__all__ = ["plan", "requests"]

VERSION = 1
MEASURES = ("chrf",)


def plan(settings: WritingTask, name: str) -> Plan:
    return make_plan(settings, name, VERSION, MEASURES, "chrf")
