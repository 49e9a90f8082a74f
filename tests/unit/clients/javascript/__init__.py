"""Unit tests of the JavaScript client, in Node."""
