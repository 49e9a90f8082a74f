"""Tests of single parts, without servers; fakes may stand in."""
