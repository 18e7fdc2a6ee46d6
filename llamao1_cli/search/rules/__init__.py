"""Search rules: which node of a tree grows next."""
