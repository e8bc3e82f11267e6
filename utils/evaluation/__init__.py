"""Counts and metrics of predictions."""
