"""`python -m chatroom`, the same as the command `chatroom`."""

from chatroom.cli import main

if __name__ == "__main__":
    main()
