"""Test-time strategies on held-out problems, and how sure their figures are."""
