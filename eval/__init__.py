"""Evaluation: bits per byte with intervals, multiple choice by likelihood, the report of a run."""
