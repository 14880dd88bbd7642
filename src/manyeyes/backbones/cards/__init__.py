"""The cards that manyeyes ships, one file a zoo."""
