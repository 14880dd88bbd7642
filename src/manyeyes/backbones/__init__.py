"""Pixels to embeddings: cards of pre-trained networks, where their weights come from, and what runs them."""
