"""What the data say: scores, and every method side by side."""
