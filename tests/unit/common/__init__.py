"""Unit tests of common/: no I/O."""
