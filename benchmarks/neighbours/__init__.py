"""What a user would pick instead of memrelay, from its real packages, with the same embedder and store."""
