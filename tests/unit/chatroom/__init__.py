"""Unit tests of chatroom/."""
