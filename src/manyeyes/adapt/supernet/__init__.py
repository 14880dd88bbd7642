"""A pre-trained network as a supernet: smaller networks inside it, with its weights, as paths."""
