"""Integration tests of clients/python."""
