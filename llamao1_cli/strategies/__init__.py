"""Test-time strategies: how trees grow for a problem, and which answer is taken from them."""
