"""Refs: idempotency keys of requests, by which the server recognizes a repeat and names the request it answers."""

import itertools
import uuid


class Refs:
    """Makes refs that no other object makes: one random prefix, then a counter."""

    def __init__(self) -> None:
        self._prefix = f"~{uuid.uuid4().hex[:16]}-"
        self._counter = itertools.count()

    def new(self) -> str:
        """Return a new ref."""
        return f"{self._prefix}{next(self._counter)}"
