"""Self-play: problems in, trees out."""
