"""`chatroom up`: the whole stack on one machine, each server and service in a child process."""
