"""Measurements of rollouts and updates against the plain ways to do the same work."""
