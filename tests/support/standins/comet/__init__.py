"""A stand-in for comet."""
