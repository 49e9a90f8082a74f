"""Tests of clients/ on real servers."""
