"""Tests of common/ on a real Redis."""
