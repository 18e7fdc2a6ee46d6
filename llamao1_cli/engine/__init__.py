"""Engines continue paths with thoughts and rate them; the search sees only their protocol."""
