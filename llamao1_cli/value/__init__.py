"""What a path of thoughts is worth: value head and value adapter."""
