"""Tests of the hunt for mutants."""
