"""Unit tests of comet/: no I/O."""
