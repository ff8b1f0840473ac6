"""What workers do: find out what is left to score, score it, and store it."""
