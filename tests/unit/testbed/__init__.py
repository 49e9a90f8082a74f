"""Tests of testbed without servers."""
