"""Rounding weights to a few bits with the inputs they will meet in mind; which bits go where."""
