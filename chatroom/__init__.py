"""The `chatroom` command: brings up the whole stack on one machine, or runs one service of it."""
