"""Base models and adapters in torch."""
