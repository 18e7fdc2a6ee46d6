"""The value functions, head and adapter: how likely a path of thoughts ends right."""
