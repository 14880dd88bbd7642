"""One way to train: recipes, the loop, checkpoints, and photos as the loop wants them."""
