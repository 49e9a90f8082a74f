"""What is typed: a command, or a message that may begin with a slash all the same."""

import pytest

from chatroom.terminal import commands


@pytest.mark.parametrize(
    ("typed", "command"),
    [("/join lobby", ("join", "lobby")), ("/leave", ("leave", "")), ("/", ("", "")), ("hi", None), ("//hi", None)],
)
def test_a_slash_makes_a_command(typed: str, command: tuple[str, str] | None) -> None:
    """Two make a message."""
    assert commands.parse(typed) == command


@pytest.mark.parametrize(("typed", "said"), [("hi ", "hi"), ("//hi", "/hi"), ("  ", ""), ("a//b", "a//b")])
def test_a_message_is_what_was_typed(typed: str, said: str) -> None:
    """Without the blanks around it, and without the slash that only made it one."""
    assert commands.unescaped(typed) == said
