"""A run as a page to look at, made from its folder alone."""
