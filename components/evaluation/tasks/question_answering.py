"""Question answering: exact match and F1 as SQuAD normalises (Rajpurkar et al. 2016)."""

from components.evaluation.settings import WritingTask
from components.evaluation.tasks.writing import make_plan, requests
from components.scoring.requests import Plan

__all__ = ["plan", "requests"]

VERSION = 1
MEASURES = ("f1", "exact_match")


def plan(settings: WritingTask, name: str) -> Plan:
    return make_plan(settings, name, VERSION, MEASURES, "squad")
