"""A model behind HTTP: photos come in requests, answers go out, and nothing is kept."""
