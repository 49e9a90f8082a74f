"""Tests of chatroom/commands."""
