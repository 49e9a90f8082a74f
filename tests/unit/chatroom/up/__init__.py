"""Tests of chatroom/up."""
