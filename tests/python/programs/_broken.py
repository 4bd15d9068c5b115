"""Fails while it is imported."""

ratio = 1
ratio = ratio / 0
