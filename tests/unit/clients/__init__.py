"""Unit tests of clients/: no I/O."""
