"""Judges of solutions that are trained on what was right and wrong before."""
