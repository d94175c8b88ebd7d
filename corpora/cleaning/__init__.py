"""Cleaners: each takes a text and returns it mended."""
