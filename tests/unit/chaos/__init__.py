"""Unit tests of the chaos harness."""
