"""Free generation with extraction: exact match as it stands, F1 over words."""

from components.evaluation.settings import WritingTask
from components.evaluation.tasks.writing import make_plan, requests
from components.scoring.requests import Plan

__all__ = ["plan", "requests"]

VERSION = 1
MEASURES = ("exact_match", "f1")


def plan(settings: WritingTask, name: str) -> Plan:
    return make_plan(settings, name, VERSION, MEASURES, "plain")
