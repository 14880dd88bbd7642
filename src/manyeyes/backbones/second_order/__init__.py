"""The second-order tap: which channels of an inner map fire together, read in the same forward pass."""

# Channels that a map is projected to, and the numbers of the block: the upper triangle of their matrix.
CHANNELS = 64
DIMENSION = CHANNELS * (CHANNELS + 1) // 2
