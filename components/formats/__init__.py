"""Rows of many shapes → one internal shape."""
