"""Tests of bench/cases."""
