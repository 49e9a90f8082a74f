"""Integration tests of clients/."""
