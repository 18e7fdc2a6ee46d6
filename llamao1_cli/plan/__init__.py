"""What a run will take on so many GPUs: seconds an iteration, and memory."""
