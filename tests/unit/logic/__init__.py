"""Unit tests of logic/."""
