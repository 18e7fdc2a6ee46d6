"""Trees of thoughts and the rules that grow them; nothing here knows a model."""
