"""Scoring base and tuned model in torch."""
