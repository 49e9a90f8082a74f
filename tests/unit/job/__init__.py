"""Unit tests of job/."""
