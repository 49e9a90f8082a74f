"""`chatroom chat`: the chat in a terminal, drawn with Textual (extra `terminal`)."""
