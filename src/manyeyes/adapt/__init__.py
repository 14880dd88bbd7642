"""Change the backbones themselves: a small part for each domain, the rest frozen. And the training that this takes."""
