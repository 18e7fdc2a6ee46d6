"""Trees as data for other trainers, and a trained model as a plain Hugging Face folder."""
