"""What every client must do, as one table, and the clients that are held to it."""
