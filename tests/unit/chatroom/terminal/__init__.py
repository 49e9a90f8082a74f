"""Unit tests of the terminal."""
