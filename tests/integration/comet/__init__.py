"""Tests of comet/ on a real Redis."""
