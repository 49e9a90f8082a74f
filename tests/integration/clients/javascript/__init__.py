"""Tests of the JavaScript client on a real Comet."""
