"""A dataset's embeddings: extracted once, kept by content, read back as one feature table."""
