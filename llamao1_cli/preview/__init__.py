"""What a run will see of its data, before it costs anything."""
