"""What every room agrees on: artefacts, tables, events, errors, settings."""
