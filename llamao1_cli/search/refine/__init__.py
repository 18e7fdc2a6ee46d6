"""Self-refine: whole solutions, rewritten and compared."""
