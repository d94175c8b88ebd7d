"""Extend a vocabulary: count, learn, merge, verify, write, initialise rows."""
