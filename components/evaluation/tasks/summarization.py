"""Summarisation: ROUGE F-measures (Lin 2004)."""

from components.evaluation.settings import WritingTask
from components.evaluation.tasks.writing import make_plan, requests
from components.scoring.requests import Plan

__all__ = ["plan", "requests"]

VERSION = 1
MEASURES = ("rougeLsum", "rouge1", "rouge2", "rougeL")


def plan(settings: WritingTask, name: str) -> Plan:
    return make_plan(settings, name, VERSION, MEASURES, "rouge")
