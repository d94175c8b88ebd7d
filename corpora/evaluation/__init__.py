"""Evaluation files: their texts, and the index of what must stay out of a corpus."""
