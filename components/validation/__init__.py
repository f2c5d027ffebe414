"""Checking, cleaning, quarantining and splitting rows."""
