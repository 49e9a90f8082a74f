"""A stand-in for logic."""
