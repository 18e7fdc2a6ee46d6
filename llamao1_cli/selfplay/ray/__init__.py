"""Self-play by actors on a Ray cluster."""
