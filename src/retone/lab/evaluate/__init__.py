"""Evaluations: the papers' tables, on any recordings."""
