"""Algorithms side by side: the same start, the same budget, paired differences."""
