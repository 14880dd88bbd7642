"""What the data say: scores, every method side by side, paired tests, and where the backbones agree."""
