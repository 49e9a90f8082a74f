"""Unit tests of clients/python."""
