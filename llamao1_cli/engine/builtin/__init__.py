"""The built-in engine: continuations of many trees in packed steps."""
