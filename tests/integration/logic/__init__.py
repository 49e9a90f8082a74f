"""Integration tests of logic/."""
