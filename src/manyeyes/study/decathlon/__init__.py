"""Several domains at once: every method of adapting side by side, and the decathlon's score."""
