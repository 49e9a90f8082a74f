"""Integration tests of chatroom/."""
