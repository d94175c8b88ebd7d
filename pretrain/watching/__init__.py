"""Watching a run: what it costs, what goes wrong in it, what it forgets, and its report."""
