"""Tests of the whole stack, started by `chatroom up`."""
