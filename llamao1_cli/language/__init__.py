"""What a thought looks like as text and as tokens, and how its tokens are drawn."""
