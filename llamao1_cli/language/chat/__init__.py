"""The chat language: thoughts in a model's own words, behind its own chat template."""
