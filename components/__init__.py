"""The steps of the line: plain functions from artefacts on disk to an artefact on disk."""
