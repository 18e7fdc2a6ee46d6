"""One run from start to end: its parts, the trainer, checkpoints, tracking."""
