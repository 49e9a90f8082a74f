"""Unit tests of the bench: what is pure in it."""
